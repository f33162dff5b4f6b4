"""From the cosines of a block of rows to the `HistoryBlock` of one view of their histories."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from sail_features.history import NEVER_US, US_PER_DAY
from sail_features.match.block import (
    Floats,
    HistoryBlock,
    Integers,
    InterestCells,
    Mask,
)
from sail_features.match.top import TOP, keep_top

ANY_TYPE: Final = -1
"""The event type of a view that keeps all of them."""
DAYS_PER_US: Final = 1 / US_PER_DAY


class PastEvents(NamedTuple):
    """What is known of the events that rows may see; each of shape (events,).

    Parameters
    ----------
    time_us : microseconds since 1970 UTC, ascending within a user.
    weight : signed feedback.
    kind : code of the event's type.
    category : code of the item's category, below 0 where it has none.
    """

    time_us: Integers
    weight: Floats
    kind: Integers
    category: Integers


class ComparedRows(NamedTuple):
    """A block's rows with their cosines.

    Parameters
    ----------
    start : shape (rows,), the first event that each row sees.
    offsets : shape (rows + 1,), each row's stretch of ``similarity``, oldest event first.
    similarity : shape (cells,).
    as_of_us : shape (rows,), the moment of each row.
    category : shape (rows,), code of the target's category, below 0 where it has none.
    listed : shape (rows,), events in the history, those without a vector too.
    """

    start: Integers
    offsets: Integers
    similarity: Floats
    as_of_us: Integers
    category: Integers
    listed: Integers


def select_view(
    rows: ComparedRows,
    events: PastEvents,
    interests: InterestCells,
    *,
    window_us: int | None = None,
    kind: int = ANY_TYPE,
) -> HistoryBlock:
    """Return the block of the events of one view.

    Parameters
    ----------
    window_us : events older than this are left out; None keeps all.
    kind : code of the event type that is kept; `ANY_TYPE` keeps all.
    """
    oldest = (
        np.full_like(rows.as_of_us, NEVER_US) if window_us is None else rows.as_of_us - window_us
    )
    selected = _select(rows, events, oldest, kind)
    return HistoryBlock(*selected, rows.category >= 0, rows.listed, interests)


@njit(cache=True, nogil=True)
def _select(
    rows: ComparedRows, events: PastEvents, oldest_us: Integers, kind: int
) -> tuple[Integers, Floats, Floats, Floats, Mask, Floats]:
    """Return the first six fields of the block."""
    count, cells = len(rows.start), len(rows.similarity)
    bounds = np.empty((count, 4), np.int64)
    similarity, weight = np.empty(cells, np.float32), np.empty(cells, np.float32)
    age_days, same_category = np.empty(cells, np.float32), np.empty(cells, np.bool_)
    top = np.empty((count, 3, TOP), np.float32)
    values, tops = similarity.ctypes.data, top.ctypes.data
    chosen = np.empty(cells + 1, np.int64)
    begin = 0
    for row in range(count):
        first, last = rows.offsets[row], rows.offsets[row + 1]
        low, high = rows.start[row], rows.start[row] + last - first
        while low < high and events.time_us[low] < oldest_us[row]:
            low += 1
        kept = _choose(events, low, high, kind, chosen, bounds[row])
        bounds[row] += begin
        from_, wanted = last - high, rows.category[row]
        for number in range(kept):
            event, cell = chosen[number], begin + number
            similarity[cell] = rows.similarity[from_ + event]
            weight[cell] = events.weight[event]
            age_days[cell] = (rows.as_of_us[row] - events.time_us[event]) * DAYS_PER_US
            same_category[cell] = (wanted >= 0) & (wanted == events.category[event])
        for part in range(3):
            size = bounds[row, part + 1] - bounds[row, part]
            keep_top(values + 4 * bounds[row, part], size, tops + 4 * TOP * (3 * row + part))
        begin += kept
    return (
        bounds,
        similarity[:begin],
        weight[:begin],
        age_days[:begin],
        same_category[:begin],
        top,
    )


@njit(cache=True, nogil=True)
def _choose(
    events: PastEvents, low: int, high: int, kind: int, chosen: Integers, bounds: Integers
) -> int:
    """List the events [low, high) of each part, newest first; return how many there are.

    Every event is written down and the place moves on only for those that belong: a
    branch that nothing predicts would cost more than three passes.
    """
    kept = 0
    for part in range(3):
        bounds[part] = kept
        if kept == high - low:
            continue
        for event in range(high - 1, low - 1, -1):
            chosen[kept] = event
            weight = events.weight[event]
            belongs = (weight <= 0) + (weight == 0) == part
            kept += belongs & ((kind == ANY_TYPE) | (events.kind[event] == kind))
    bounds[3] = kept
    return kept
