"""From the cosines of a block of rows to the `HistoryBlock` of one view of their histories."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from sail_features.history import NEVER_US, US_PER_DAY
from sail_features.match.block import (
    PARTS,
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
    time_us : microseconds since 1970 UTC, ascending within a stretch that a row sees.
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
    start : shape (rows, 3), the first event of each part that each row sees.
    bounds, similarity : see `HistoryBlock`; the events of one part lie together.
    as_of_us : shape (rows,), the moment of each row.
    category : shape (rows,), code of the target's category, below 0 where it has none.
    listed : shape (rows,), events in the history, those without a vector too.
    """

    start: Integers
    bounds: Integers
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
    if window_us is None and kind == ANY_TYPE:
        cells = (rows.bounds, rows.similarity, *_describe_all(rows, events))
    else:
        never = np.full_like(rows.as_of_us, NEVER_US)
        oldest_us = never if window_us is None else rows.as_of_us - window_us
        cells = _describe_some(rows, events, oldest_us, kind)
    return HistoryBlock(*cells, _highest(*cells[:2]), rows.category >= 0, rows.listed, interests)


@njit(cache=True, nogil=True)
def _describe_all(rows: ComparedRows, events: PastEvents) -> tuple[Floats, Floats, Mask]:
    """Return weight, age and category of every cell."""
    cells = len(rows.similarity)
    weight, age_days = np.empty(cells, np.float32), np.empty(cells, np.float32)
    same_category = np.empty(cells, np.bool_)
    for row in range(len(rows.start)):
        now, wanted = rows.as_of_us[row], rows.category[row]
        for part in range(PARTS):
            low = rows.start[row, part]
            first, last = rows.bounds[row, part], rows.bounds[row, part + 1]
            weight[first:last] = events.weight[low : low + last - first]
            times, categories = events.time_us[low:], events.category[low:]
            ages, same = age_days[first:last], same_category[first:last]
            for cell in range(len(ages)):
                ages[cell] = (now - times[cell]) * DAYS_PER_US
                same[cell] = (wanted >= 0) & (wanted == categories[cell])
    return weight, age_days, same_category


@njit(cache=True, nogil=True)
def _describe_some(
    rows: ComparedRows, events: PastEvents, oldest_us: Integers, kind: int
) -> tuple[Integers, Floats, Floats, Floats, Mask]:
    """Return bounds, similarity, weight, age and category of the cells of one view.

    Every cell is written down and the place moves on only for those that belong, since
    nothing predicts a branch.
    """
    cells = len(rows.similarity)
    bounds = np.zeros(rows.bounds.shape, np.int64)
    similarity, weight = np.empty(cells, np.float32), np.empty(cells, np.float32)
    age_days, same_category = np.empty(cells, np.float32), np.empty(cells, np.bool_)
    kept = 0
    for row in range(len(rows.start)):
        now, wanted = rows.as_of_us[row], rows.category[row]
        for part in range(PARTS):
            bounds[row, part] = kept
            event = rows.start[row, part]
            for cell in range(rows.bounds[row, part], rows.bounds[row, part + 1]):
                similarity[kept] = rows.similarity[cell]
                weight[kept] = events.weight[event]
                age_days[kept] = (now - events.time_us[event]) * DAYS_PER_US
                same_category[kept] = (wanted >= 0) & (wanted == events.category[event])
                recent = events.time_us[event] >= oldest_us[row]
                kept += recent & ((kind == ANY_TYPE) | (events.kind[event] == kind))
                event += 1
        bounds[row, PARTS] = kept
    return bounds, similarity[:kept], weight[:kept], age_days[:kept], same_category[:kept]


@njit(cache=True, nogil=True)
def _highest(bounds: Integers, similarity: Floats) -> Floats:
    """Return the highest similarities of each part."""
    top = np.empty((len(bounds), PARTS, TOP), np.float32)
    values, tops = similarity.ctypes.data, top.ctypes.data
    for row in range(len(bounds)):
        for part in range(PARTS):
            size = bounds[row, part + 1] - bounds[row, part]
            keep_top(values + 4 * bounds[row, part], size, tops + 4 * TOP * (PARTS * row + part))
    return top
