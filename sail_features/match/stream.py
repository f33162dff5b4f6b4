"""Match features of a stream of rows and events, in blocks of bounded size.

A Spark task gets what is asked and what happened as one stream, sorted by user and
time. A block is a stretch of it, cut anywhere, with the little in front of it that its
rows can still see: the last user's newest events and interests. So one user of a million
events takes no more memory than another, and the cuts change no bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.embeddings import EmbeddingTable
from sail_features.history import HistoryWindow, ids_of, us_of
from sail_features.interests.snapshots import InterestSnapshots
from sail_features.match.block import Integers, Mask, MatchFeature
from sail_features.match.events import MatchLog
from sail_features.match.frame import answers_of, snapshots_of
from sail_features.match.kernel import compute_match
from sail_features.match.merged_runs import iter_stretches, merge_sorted
from sail_features.match.similarity_counts import SimilarityCounts
from sail_features.match.sorted_rows import MatchRows

INTEREST: Final = 0
ASKED: Final = 1
EVENT: Final = 2
"""What a row of the stream is; in this order at one moment, which an interest may be
seen from, and which an event may not be seen at."""

WHAT: Final = "what"
KIND: Final = "kind"
"""The place of the event's type among those that features ask for, -1 for others."""
UNCLICKED: Final = "unclicked"
"""Whether an event is an impression without a click; one that was told of counts instead."""
MINED: Final = "mined"
"""The other columns of a row of ``user_interest``, as a struct."""
ORDER: Final = (c.USER_ID, c.EVENT_TIMESTAMP, WHAT, c.ITEM_ID, UNCLICKED, c.WEIGHT, KIND)
"""The columns that a stream is sorted by, of those that it has."""

ROWS_PER_BLOCK: Final = 131_072
BYTES_PER_BLOCK: Final = 1 << 26


@dataclass(frozen=True)
class StreamBlock:
    """A stretch of the stream, ready for the kernel.

    Parameters
    ----------
    asked : user_id, item_id and event_timestamp of each distinct row, in order.
    rows, log, interests : see `sail_features.match.kernel.compute_match`.
    """

    asked: pa.Table
    rows: MatchRows
    log: MatchLog
    interests: InterestSnapshots | None


def iter_match_tables(
    batches: Iterable[pa.RecordBatch],
    vectors: EmbeddingTable,
    features: Sequence[MatchFeature],
    window: HistoryWindow,
    *,
    category: Integers | None = None,
    runs: Sequence[Iterable[pa.RecordBatch]] = (),
    rows_per_block: int = ROWS_PER_BLOCK,
) -> Iterator[pa.Table]:
    """Compute the match features of a sorted stream, a table a block.

    Parameters
    ----------
    batches : the stream, in `ORDER`. A user's rows are all in it.
    vectors, features, window, category : see `sail_features.match.kernel.compute_match`.
    runs : further streams in the same order, of events that were sorted before.
    rows_per_block : how much of the stream is held at a time.

    Yields
    ------
    What `sail_features.match.frame.compute_match_table` returns, for the block's rows.

    Notes
    -----
    Memory: the vectors, one block, and ``window.max_events`` events.
    """
    for block in iter_blocks(batches, vectors, window, runs=runs, rows_per_block=rows_per_block):
        result = compute_match(
            block.rows,
            block.log,
            vectors,
            features,
            window,
            category=category,
            interests=block.interests,
        )
        yield answers_of(block.asked, result, features)


def count_similarities(
    batches: Iterable[pa.RecordBatch],
    vectors: EmbeddingTable,
    window: HistoryWindow,
    *,
    runs: Sequence[Iterable[pa.RecordBatch]] = (),
    rows_per_block: int = ROWS_PER_BLOCK,
) -> Integers:
    """Return how many target-to-liked similarities of a stream lie at each step of the grid.

    What the edges of the histogram are fitted on: see
    `sail_features.match.similarity_counts`. Same parameters as `iter_match_tables`.
    """
    counter = SimilarityCounts()
    for block in iter_blocks(batches, vectors, window, runs=runs, rows_per_block=rows_per_block):
        known = np.flatnonzero(block.rows.item >= 0)
        compute_match(block.rows.take(known), block.log, vectors, [counter], window)
    return counter.counts


def iter_blocks(
    batches: Iterable[pa.RecordBatch],
    vectors: EmbeddingTable,
    window: HistoryWindow,
    *,
    runs: Sequence[Iterable[pa.RecordBatch]] = (),
    rows_per_block: int = ROWS_PER_BLOCK,
) -> Iterator[StreamBlock]:
    """Cut a sorted stream into blocks; those that ask for nothing are left out."""
    carried: pa.Table | None = None
    streams = [_gather(stream, rows_per_block) for stream in (batches, *runs)]
    for fresh in iter_stretches(streams, ORDER):
        stretch = _Stretch.of(carried, fresh)
        if stretch.asked.any():
            yield stretch.block(vectors)
        seen = stretch.still_seen(window.max_events + window.skip_newest)
        carried = stretch.rows.take(pa.array(seen))


def _gather(batches: Iterable[pa.RecordBatch], rows_per_block: int) -> Iterator[pa.Table]:
    """Put batches together until there are as many rows, or as many bytes, as a block holds."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        full = sum(b.num_rows for b in held) >= rows_per_block
        if full or sum(b.nbytes for b in held) >= BYTES_PER_BLOCK:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


@dataclass(frozen=True)
class _Stretch:
    """Rows of the stream as arrays, each of shape (rows,), with those that count marked.

    ``rows`` are as they came; ``order`` is the place of each array's row among them.
    """

    rows: pa.Table
    order: Integers
    user: Integers
    time_us: Integers
    item: Integers  # place of the row's item among ``item_ids``, -1 for interests
    item_ids: NDArray[np.generic]
    asked: Mask
    event: Mask
    interest: Mask

    @classmethod
    def of(cls, carried: pa.Table | None, fresh: Sequence[pa.Table]) -> _Stretch:
        """Read what was carried on and, after it, what is new; only the latter can ask."""
        before = [] if carried is None else [carried]
        old = sum(part.num_rows for part in before)
        rows = pa.concat_tables([*before, *fresh], promote_options="default")
        user, user_ids = _codes(rows[c.USER_ID])
        item, item_ids = _codes(rows[c.ITEM_ID])
        time_us, what = us_of(rows[c.EVENT_TIMESTAMP]), rows[WHAT].to_numpy()
        unclicked = _filled(rows, UNCLICKED, False).astype(bool)
        order = np.arange(len(user))
        if len(fresh) > 1:
            user = _ranks(user_ids)[user]
            keys = [user, time_us, what, np.append(_ranks(item_ids), -1)[item], unclicked]
            keys += [_filled(rows, c.WEIGHT, 0), _filled(rows, KIND, -1)]
            lengths = [part.num_rows for part in fresh]
            order[old:] = old + merge_sorted([key[old:] for key in keys], lengths)
            user, time_us, item = user[order], time_us[order], item[order]
            what, unclicked = what[order], unclicked[order]
        first = np.ones(len(user), bool)  # of the rows that are alike in all four
        first[1:] = np.diff(user) != 0
        for column in (time_us, what, item):
            first[1:] |= np.diff(column) != 0
        return cls(
            rows,
            order,
            user,
            time_us,
            item,
            item_ids,
            (what == ASKED) & first & (order >= old),
            (what == EVENT) & ~_told_otherwise(unclicked, first),
            what == INTEREST,
        )

    def block(self, vectors: EmbeddingTable) -> StreamBlock:
        """Return what the kernel needs."""
        vector_row = np.append(vectors.rows_of(self.item_ids), -1)[self.item]
        asked, event = np.flatnonzero(self.asked), np.flatnonzero(self.event)
        log = MatchLog(
            self.user[event],
            self.time_us[event],
            vector_row[event],
            _filled(self.rows, c.WEIGHT, 0).astype(np.float32)[self.order[event]],
            _filled(self.rows, KIND, -1).astype(np.int64)[self.order[event]],
        )
        return StreamBlock(
            self.rows.select(list(c.PAIR)).take(pa.array(self.order[asked])),
            MatchRows(self.user[asked], vector_row[asked], self.time_us[asked]),
            log,
            self._snapshots(vectors.dim),
        )

    def _snapshots(self, dim: int) -> InterestSnapshots | None:
        if MINED not in self.rows.column_names:
            return None
        mined = np.flatnonzero(self.interest)
        rows = self.rows.take(pa.array(self.order[mined]))
        table = pa.Table.from_struct_array(rows[MINED])
        table = table.append_column(c.EVENT_TIMESTAMP, rows[c.EVENT_TIMESTAMP])
        return snapshots_of(table, self.user[mined], dim)

    def still_seen(self, max_events: int) -> Integers:
        """Return the places of the rows that later rows of the stream may see.

        Those are the last user's newest events, its newest interests that were available
        and all later ones, and the last row if it asks: it may come once more.
        """
        begin = int(np.searchsorted(self.user, self.user[-1]))
        events = begin + np.flatnonzero(self.event[begin:])[-max_events:]
        mined = begin + np.flatnonzero(self.interest[begin:])
        if len(mined):
            found = self.rows[MINED].take(pa.array(self.order[mined]))
            available = us_of(pc.struct_field(found, c.AVAILABLE_AT))
            usable = np.flatnonzero(available <= self.time_us[-1])
            mined = mined[usable[-1] :] if len(usable) else mined
        last = len(self.user) - 1
        is_row = not (self.event[last] or self.interest[last])
        kept = np.concatenate([mined, events, [last] if is_row else []])
        return self.order[np.sort(kept).astype(np.int64)]


def _told_otherwise(unclicked: Mask, first: Mask) -> Mask:
    """Mark impressions without a click of which the first row that is alike tells more."""
    begin = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
    found: Mask = unclicked & ~unclicked[begin]
    return found


def _codes(ids: pa.ChunkedArray) -> tuple[Integers, NDArray[np.generic]]:
    """Return each id's place among the distinct ones, -1 for null, in order of appearance."""
    encoded = pc.dictionary_encode(ids.combine_chunks())
    codes: Integers = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes, ids_of(pa.chunked_array([encoded.dictionary]))


def _filled(rows: pa.Table, name: str, value: float) -> NDArray[Any]:
    """Return a column of numbers with a value where there is none."""
    if name not in rows.column_names:
        return np.full(rows.num_rows, value)
    numbers: NDArray[Any] = rows[name].fill_null(value).to_numpy()
    return numbers


def _ranks(ids: NDArray[np.generic]) -> Integers:
    """Return the place of each of several distinct ids in their order."""
    ranks = np.empty(len(ids), np.int64)
    ranks[np.argsort(ids)] = np.arange(len(ids))
    return ranks
