"""From rows and events to match features: the one path for batch, server and notebook.

Rows and events are sorted once by user and time, so a row's history is a slice.
For each user the vectors between the first and the last slice are gathered once
and multiplied against all of the user's targets; each row then takes its own
stretch of the product. Nothing is ever listed per row but a block of bounded size.
Written in numpy for reading; a faster kernel must give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.embeddings import EmbeddingTable
from sail_features.history import (
    NEVER_US,
    US_PER_DAY,
    EventLog,
    HistorySlices,
    HistoryWindow,
    compute_slices,
    sort_events,
)
from sail_features.match.block import Floats, HistoryBlock, MatchFeature
from sail_features.match.family import columns_of

CELLS_PER_BLOCK: Final = 2_000_000
"""Rows times slots of one block: 8 MB for each float32 array."""
EVENTS_PER_BAND: Final = 1024
"""Longest stretch of one user's events that is gathered at once, or one row's history."""


@dataclass(frozen=True)
class MatchRows:
    """What is asked: one row a (user, target item, moment), in any order.

    Parameters
    ----------
    user : shape (rows,), int64 codes shared with the events.
    item : shape (rows,), row of the target's vector, -1 where it has none.
    as_of_us : shape (rows,), the moment; events strictly before it are seen.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    as_of_us: NDArray[np.int64]


@dataclass(frozen=True)
class MatchResult:
    """What is answered, in the order of the rows asked.

    Parameters
    ----------
    values : shape (rows, columns), NaN where missing; a row whose target has no
        vector is all NaN.
    feature_time_us : shape (rows,), time of the newest event seen, `NEVER_US`
        where none was.
    available_at_us : shape (rows,), the latest availability among the row's
        moment and the vectors it used.
    """

    values: Floats
    feature_time_us: NDArray[np.int64]
    available_at_us: NDArray[np.int64]


def sort_history(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    time_us: NDArray[np.int64],
    weight: NDArray[np.float32],
    vector_row: NDArray[np.int64],
) -> EventLog:
    """Sort events for `compute_match`: by user, time, item and weight.

    Parameters
    ----------
    item : shape (events,), codes in the order of the ids, which orders ties in time.
    vector_row : shape (items,), the row of each code's vector, -1 where it has none.

    Notes
    -----
    An event without a vector keeps its place among the newest, so that a history is
    the same events here and in ``user_history``; `compute_match` then leaves it out.
    """
    log = sort_events(user, time_us, item, weight)
    return replace(log, item=vector_row[log.item])


def compute_match(
    rows: MatchRows,
    log: EventLog,
    table: EmbeddingTable,
    features: Sequence[MatchFeature],
    window: HistoryWindow,
) -> MatchResult:
    """Compute match features for each row from the events strictly before it.

    Parameters
    ----------
    rows : what to compute.
    log : the events, from `sort_history`.
    table : vectors; both ``rows.item`` and ``log.item`` point into it.
    features : from `sail_features.match.family.build_features`.
    window : how far back to look.

    Notes
    -----
    Cost: 2 x dim multiplications a (row, event) pair, and a sort of each row's
    slots. Memory: the vectors of one user's span and blocks of
    `CELLS_PER_BLOCK`. Results don't depend on the order of rows.
    """
    count = len(rows.user)
    result = MatchResult(
        np.full((count, len(columns_of(features))), np.nan, np.float32),
        np.full(count, NEVER_US, np.int64),
        rows.as_of_us.copy(),
    )
    if not len(table):
        return result
    slices = compute_slices(log, rows.user, rows.as_of_us, window)
    for block in _iter_blocks(rows, slices):
        _fill(result, block, rows, slices, log, table, features)
    return result


def _iter_blocks(rows: MatchRows, slices: HistorySlices) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers, sorted by user and time, in blocks of bounded size."""
    order = np.lexsort((rows.item, slices.stop, rows.user))
    slots = np.maximum(slices.count[order], 1)
    start, widest = 0, 0
    for end, width in enumerate(slots.tolist()):
        widest = max(widest, width)
        if (end + 1 - start) * widest > CELLS_PER_BLOCK and end > start:
            yield order[start:end]
            start, widest = end, width
    if start < len(order):
        yield order[start:]


@dataclass(frozen=True)
class _Slots:
    """The events in each slot of a block, newest first; shape (rows, slots)."""

    event: NDArray[np.int64]
    filled: NDArray[np.bool_]

    @classmethod
    def of(cls, start: NDArray[np.int64], stop: NDArray[np.int64]) -> _Slots:
        width = max(int((stop - start).max()), 1)
        event = stop[:, None] - 1 - np.arange(width)
        filled = event >= start[:, None]
        return cls(np.where(filled, event, 0), filled)

    def take(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the events' values; anything where a slot is empty."""
        return values[self.event] if len(values) else np.zeros(self.event.shape, values.dtype)


def _fill(
    result: MatchResult,
    block: NDArray[np.int64],
    rows: MatchRows,
    slices: HistorySlices,
    log: EventLog,
    table: EmbeddingTable,
    features: Sequence[MatchFeature],
) -> None:
    """Compute the rows of one block and write them into ``result``."""
    start, stop = slices.start[block], slices.stop[block]
    target, as_of_us = rows.item[block], rows.as_of_us[block]
    slots = _Slots.of(start, stop)
    time_us, item = slots.take(log.time_us), slots.take(log.item)
    seen = slots.filled & (item >= 0)
    history = HistoryBlock(
        _compute_similarity(rows.user[block], target, start, stop, slots, log, table),
        slots.take(log.weight),
        (as_of_us[:, None] - time_us).astype(np.float32) / np.float32(US_PER_DAY),
        seen,
    )
    values = np.concatenate([feature.compute(history) for feature in features], axis=1)
    values[target < 0] = np.nan
    result.values[block] = values
    result.feature_time_us[block] = np.where(seen, time_us, NEVER_US).max(axis=1)
    known = np.where(seen, table.available_at_us[item], NEVER_US).max(axis=1)
    target_known = np.where(target >= 0, table.available_at_us[target], NEVER_US)
    result.available_at_us[block] = np.maximum.reduce([as_of_us, known, target_known])


def _compute_similarity(
    user: NDArray[np.int64],
    target: NDArray[np.int64],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    slots: _Slots,
    log: EventLog,
    table: EmbeddingTable,
) -> Floats:
    """Return the cosine of each row's target and each of its slots; anything in empty ones."""
    similarity = np.zeros(slots.event.shape, np.float32)
    for band in _iter_bands(user, start, stop):
        first, last = int(start[band].min()), int(stop[band].max())
        if first == last:
            continue
        product = table.take(target[band]) @ table.take(log.item[first:last]).T
        column = np.clip(slots.event[band] - first, 0, last - first - 1)
        similarity[band] = np.take_along_axis(product, column, axis=1)
    return similarity


def _iter_bands(
    user: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> Iterator[slice]:
    """Yield stretches of one user's rows whose histories span a bounded stretch of events."""
    first, from_event = 0, 0
    for row, (who, oldest, newest) in enumerate(
        zip(user.tolist(), start.tolist(), stop.tolist(), strict=True)
    ):
        if row == 0:
            from_event = oldest
        elif who != user[first] or newest - from_event > EVENTS_PER_BAND:
            yield slice(first, row)
            first, from_event = row, oldest
    yield slice(first, len(user))
