"""Rows in the order of users and moments, with the stretch of events that each may see."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
from numba import njit

from sail_features.embeddings import EmbeddingTable
from sail_features.history import NEVER_US, HistoryWindow, compute_slices
from sail_features.match.block import PARTS, Floats, Integers, part_of
from sail_features.match.events import MatchLog
from sail_features.match.selection import ComparedRows, PastEvents
from sail_features.match.similarity import Similarity

CELLS_PER_BLOCK: Final = 262_144
"""Events of all rows of a block: a megabyte for each float32 array, so
that what Python does for a block is a small share."""
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
    start, stop : shape (rows, 3), each row's stretch of the events of each part (`LIKED`,
        `DISLIKED`, `UNDECIDED`); both ascend from row to row.
    listed : shape (rows,), events in the row's history, those without a vector too.
    event_item : shape (events,), row of each event's vector; part after part, each in the
        order of the log.
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
        known, begin = _order_by_part(log.item, log.weight)
        event_item = log.item[known]
        return cls(
            order,
            rows,
            _part_edges(log.item, log.weight, begin, slices.start),
            _part_edges(log.item, log.weight, begin, slices.stop),
            slices.count,
            event_item,
            PastEvents(
                log.time_us[known], log.weight[known], log.kind[known], category[event_item]
            ),
            np.where(rows.item >= 0, category[rows.item], -1),
        )

    def blocks(self) -> list[slice]:
        """Cut the rows into stretches of at most `CELLS_PER_BLOCK` cells, or of one row."""
        cells = np.cumsum((self.stop - self.start).sum(axis=1) + CELLS_OF_A_ROW)
        full = np.arange(CELLS_PER_BLOCK, cells[-1], CELLS_PER_BLOCK)
        edges = [0, *dict.fromkeys(np.searchsorted(cells, full).tolist()), len(cells)]
        return [slice(first, last) for first, last in pairwise(edges) if first < last]

    def compare(
        self, stretch: slice, table: EmbeddingTable, similarity: Similarity
    ) -> ComparedRows:
        """Return the cosines of one block's rows."""
        start, stop = self.start[stretch], self.stop[stretch]
        bounds = np.zeros((len(start), PARTS + 1), np.int64)
        bounds[:, 1:] = np.cumsum(stop - start).reshape(stop.shape)
        bounds[1:, 0] = bounds[:-1, -1]
        vectors, target = table.vectors, self.rows.item[stretch]
        return ComparedRows(
            start,
            bounds,
            similarity(vectors, target, vectors, self.event_item, start, stop),
            self.rows.as_of_us[stretch],
            self.category[stretch],
            self.listed[stretch],
        )

    def feature_time_us(self) -> Integers:
        """Return the time of the newest event that each row sees, `NEVER_US` for none."""
        newest = np.full(len(self.start), NEVER_US)
        _raise_to_highest(newest, self.start, self.stop, self.events.time_us)
        return newest

    def available_at_us(self, table: EmbeddingTable) -> Integers:
        """Return the latest availability among each row's moment and the vectors it uses."""
        available = np.concatenate([table.available_at_us, [NEVER_US]])
        latest: Integers = np.maximum(self.rows.as_of_us, available[self.rows.item])
        _raise_to_highest(latest, self.start, self.stop, available[self.event_item])
        return latest


def _order_of(rows: MatchRows) -> Integers:
    """Return the order by user and moment; rows that are in order already cost one look."""
    if _are_in_order(rows.user, rows.as_of_us):
        return np.arange(len(rows.user))
    order: Integers = np.lexsort((rows.as_of_us, rows.user))
    return order


@njit(cache=True, nogil=True)
def _are_in_order(user: Integers, as_of_us: Integers) -> bool:
    for row in range(1, len(user)):
        if user[row - 1] > user[row]:
            return False
        if user[row - 1] == user[row] and as_of_us[row - 1] > as_of_us[row]:
            return False
    return True


@njit(cache=True, nogil=True)
def _order_by_part(item: Integers, weight: Floats) -> tuple[Integers, Integers]:
    """Order the events whose item has a vector by part, and as they were within a part.

    Also returns where each part begins.
    """
    ends = np.zeros(PARTS + 1, np.int64)
    for event in range(len(item)):
        ends[part_of(weight[event]) + 1] += item[event] >= 0
    ends = np.cumsum(ends)
    begin, order = ends[:PARTS].copy(), np.empty(ends[-1], np.int64)
    for event in range(len(item)):
        if item[event] >= 0:
            part = part_of(weight[event])
            order[ends[part]] = event
            ends[part] += 1
    return order, begin


@njit(cache=True, nogil=True)
def _part_edges(item: Integers, weight: Floats, begin: Integers, edge: Integers) -> Integers:
    """Return how far each part has come at each edge, which ascend; shape (edges, 3)."""
    edges, come, event = np.empty((len(edge), PARTS), np.int64), begin.copy(), 0
    for row in range(len(edge)):
        while event < edge[row]:
            come[part_of(weight[event])] += item[event] >= 0
            event += 1
        edges[row] = come
    return edges


@njit(cache=True, nogil=True)
def _raise_to_highest(highest: Integers, start: Integers, stop: Integers, values: Integers) -> None:
    """Raise each row's number to the highest of its stretches of ``values``.

    A row looks only at what the row before it didn't see, unless the highest of that is
    out of its sight.
    """
    for run in range(start.shape[1]):
        found = looked_to = 0
        for row in range(len(start)):
            low, high = start[row, run], stop[row, run]
            if found < low:
                found = looked_to = low
            for event in range(looked_to, high):
                if values[event] >= values[found]:
                    found = event
            looked_to = max(looked_to, high)
            if low < high:
                highest[row] = max(highest[row], values[found])
