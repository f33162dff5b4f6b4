"""Rows in the order of users and moments, with the stretch of events that each may see."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
from numba import njit

from sail_features.embeddings import EmbeddingTable
from sail_features.history import NEVER_US, HistoryWindow, compute_slices
from sail_features.match.block import Integers
from sail_features.match.events import MatchLog
from sail_features.match.selection import ComparedRows, PastEvents
from sail_features.match.similarity import Similarity

CELLS_PER_BLOCK: Final = 131_072
"""Events of all rows of a block: half a megabyte for each float32 array."""
CELLS_OF_A_ROW: Final = 16
"""What a row costs beyond its events, counted in events."""


@dataclass(frozen=True)
class MatchRows:
    """What is asked: one row a (user, target item, moment), in any order.

    Parameters
    ----------
    user : shape (rows,), int64 codes shared with the events.
    item : shape (rows,), row of the target's vector, -1 where it has none.
    as_of_us : shape (rows,), the moment; events strictly before it are seen.
    """

    user: Integers
    item: Integers
    as_of_us: Integers

    def take(self, order: Integers) -> Self:
        """Return these rows in another order."""
        return type(self)(self.user[order], self.item[order], self.as_of_us[order])


@dataclass(frozen=True)
class SortedRows:
    """Rows by user and moment; each sees a stretch of the events whose item has a vector.

    Parameters
    ----------
    order : shape (rows,), the place of each row among the rows asked.
    rows : the rows in this order.
    start, stop : shape (rows,), each row's stretch of ``events``; both ascend.
    listed : shape (rows,), events in the row's history, those without a vector too.
    event_item : shape (events,), row of each event's vector.
    events : what else is known of them.
    category : shape (rows,), code of the target's category, -1 where it has none.
    """

    order: Integers
    rows: MatchRows
    start: Integers
    stop: Integers
    listed: Integers
    event_item: Integers
    events: PastEvents
    category: Integers

    @classmethod
    def of(
        cls, asked: MatchRows, log: MatchLog, window: HistoryWindow, category: Integers
    ) -> SortedRows:
        """Sort the rows and find what each sees; ``category`` as in `compute_match`."""
        order = _order_of(asked)
        rows = asked.take(order)
        slices = compute_slices(log, rows.user, rows.as_of_us, window)
        known = log.item >= 0
        # How many events before each position have a vector: its position among those.
        position = np.concatenate([[0], np.cumsum(known)]).astype(np.int64)
        event_item = log.item[known]
        return cls(
            order,
            rows,
            position[slices.start],
            position[slices.stop],
            slices.count,
            event_item,
            PastEvents(
                log.time_us[known], log.weight[known], log.kind[known], category[event_item]
            ),
            np.where(rows.item >= 0, category[rows.item], -1),
        )

    def blocks(self) -> list[slice]:
        """Cut the rows into stretches of at most `CELLS_PER_BLOCK` cells, or of one row."""
        cells = np.cumsum(self.stop - self.start + CELLS_OF_A_ROW)
        ends = np.searchsorted(cells, np.arange(CELLS_PER_BLOCK, cells[-1], CELLS_PER_BLOCK))
        edges = np.unique([0, *ends, len(cells)]).tolist()
        return [slice(first, last) for first, last in pairwise(edges)]

    def compare(
        self, stretch: slice, table: EmbeddingTable, similarity: Similarity
    ) -> ComparedRows:
        """Return the cosines of one block's rows."""
        start, stop = self.start[stretch], self.stop[stretch]
        offsets = np.concatenate([[0], np.cumsum(stop - start)]).astype(np.int64)
        vectors, target = table.vectors, self.rows.item[stretch]
        return ComparedRows(
            start,
            offsets,
            similarity(vectors, target, vectors, self.event_item, start, stop),
            self.rows.as_of_us[stretch],
            self.category[stretch],
            self.listed[stretch],
        )

    def feature_time_us(self) -> Integers:
        """Return the time of the newest event that each row sees, `NEVER_US` for none."""
        times = np.concatenate([[NEVER_US], self.events.time_us])
        newest: Integers = np.where(self.stop > self.start, times[self.stop], NEVER_US)
        return newest

    def available_at_us(self, table: EmbeddingTable) -> Integers:
        """Return the latest availability among each row's moment and the vectors it uses."""
        available = np.concatenate([table.available_at_us, [NEVER_US]])
        latest: Integers = np.maximum(self.rows.as_of_us, available[self.rows.item])
        _raise_to_newest(latest, self.start, self.stop, available[self.event_item])
        return latest


def _order_of(rows: MatchRows) -> Integers:
    """Return the order by user and moment; rows that are in order already cost one look."""
    user, moment = np.diff(rows.user), np.diff(rows.as_of_us)
    if bool(np.all((user > 0) | ((user == 0) & (moment >= 0)))):
        return np.arange(len(rows.user))
    order: Integers = np.lexsort((rows.as_of_us, rows.user))
    return order


@njit(cache=True, nogil=True)
def _raise_to_newest(
    latest: Integers, start: Integers, stop: Integers, available_us: Integers
) -> None:
    """Raise each row's time to the latest availability in its stretch."""
    for row in range(len(latest)):
        for event in range(start[row], stop[row]):
            latest[row] = max(latest[row], available_us[event])
