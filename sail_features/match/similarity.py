"""Cosines of targets and the history items that each is compared with, in one flat array.

A row's history is a few stretches of the sorted events, and rows that are neighbours
share most of theirs: their vectors are fetched once, turned into float32, and multiplied a
tile at a time (`sail_features.match.tile`). Nothing is listed for a row; scratch memory
is the vectors of the longest history and of `EVENTS_AHEAD` more.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sail_features.float16 import stored_bits
from sail_features.match.stored_vectors import fetch_row, prefetch_row
from sail_features.match.tile import (
    LANES,
    TILE_EVENTS,
    TILE_ROWS,
    tile_of_one,
    tile_of_three,
    tile_of_two,
)

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

EVENTS_AHEAD: Final = 128
"""Events held beyond the longest stretch, so that a user's are fetched once."""
PREFETCHED: Final = 4
"""How many events ahead a vector is asked for before it is read."""
WASTE: Final = 1.5
"""Pairs that a tile may compute for each pair that is needed."""


class Similarity(Protocol):
    """Computes cosines: `compute_similarity`, or the same on another device."""

    def __call__(
        self,
        targets: NDArray[Any],
        target: Integers,
        histories: NDArray[Any],
        history: Integers,
        start: Integers,
        stop: Integers,
    ) -> Floats:
        """Do what `compute_similarity` does."""


def compute_similarity(
    targets: NDArray[Any],
    target: Integers,
    histories: NDArray[Any],
    history: Integers,
    start: Integers,
    stop: Integers,
) -> Floats:
    """Return the cosine of each row's target and each of its events.

    Parameters
    ----------
    targets, histories : shape (items, dim), unit vectors, float16 or float32.
    target : shape (rows,), row of the target in ``targets``; below 0 counts as zeros.
    history : shape (events,), row of each event in ``histories``.
    start, stop : shape (rows, runs), each row's stretches of ``history``; ascending from
        row to row.

    Returns
    -------
    Shape (sum of ``stop - start``,): row after row, run after run, event after event.

    Notes
    -----
    The bits of a cosine depend on its two vectors alone. Cost: 2 x dim operations a
    pair, and fetching each event once and each target once.

    Examples
    --------
    >>> compute_similarity(np.eye(2, dtype=np.float32), np.array([0, 1]),
    ...                    np.float16([[0.6, 0.8], [0, 1]]), np.array([0, 1]),
    ...                    np.array([[0], [0]]), np.array([[1], [2]])).round(2)
    array([0.6, 0.8, 1. ], dtype=float32)
    """
    out = np.empty(int((stop - start).sum()), np.float32)
    if len(out):
        _compare(stored_bits(targets), target, stored_bits(histories), history, start, stop, out)
    return out


@njit(cache=True, nogil=True)
def _compare(
    targets: NDArray[Any],
    target: Integers,
    histories: NDArray[Any],
    history: Integers,
    start: Integers,
    stop: Integers,
    out: Floats,
) -> None:
    """Fill ``out``: see `compute_similarity`."""
    rows, runs = start.shape
    dim = -(-targets.shape[1] // LANES) * LANES
    longest = max([_count(start, row, stop, row) for row in range(rows)])
    span = int(WASTE * longest) + EVENTS_AHEAD
    wanted = np.zeros((TILE_ROWS, dim), np.float32)
    held = np.empty((runs, span + TILE_EVENTS, dim), np.float32)
    held[:, :, targets.shape[1] :] = 0
    base, held_to = start[0].copy(), start[0].copy()
    product = np.empty((TILE_ROWS, span + TILE_EVENTS), np.float32)
    first, written = 0, np.zeros(TILE_ROWS + 1, np.int64)
    while first < rows:
        last = _group_end(start, stop, first)
        for row in range(last, min(last + TILE_ROWS, rows)):
            prefetch_row(targets, max(target[row], 0))
        for row in range(first, last):
            written[row - first + 1] = written[row - first] + _count(start, row, stop, row)
            if target[row] < 0:
                wanted[row - first] = 0
            else:
                fetch_row(targets, target[row], wanted[row - first])
        for run in range(runs):
            low, high = start[first, run], stop[last - 1, run]
            if low >= held_to[run] or high - base[run] > span:
                base[run] = held_to[run] = low
            for event in range(held_to[run], high):
                prefetch_row(histories, history[min(event + PREFETCHED, len(history) - 1)])
                fetch_row(histories, history[event], held[run, event - base[run]])
            held_to[run] = max(held_to[run], high)
            _multiply(wanted, held[run], low - base[run], high - base[run], last - first, product)
            for row in range(first, last):
                from_, count = start[row, run] - base[run], stop[row, run] - start[row, run]
                place = written[row - first]
                out[place : place + count] = product[row - first, from_ : from_ + count]
                written[row - first] += count
        written[0] = written[last - first]
        first = last


@njit(cache=True, nogil=True)
def _group_end(start: Integers, stop: Integers, first: int) -> int:
    """Return the end of the rows that share a tile with row ``first`` without much waste."""
    needed = _count(start, first, stop, first)
    last = first + 1
    while last < min(first + TILE_ROWS, len(start)):
        needed += _count(start, last, stop, last)
        if _count(start, first, stop, last) * (last + 1 - first) > WASTE * needed:
            break
        last += 1
    return last


@njit(cache=True, nogil=True)
def _count(start: Integers, first: int, stop: Integers, last: int) -> int:
    """Return the events from where row ``first`` begins to where row ``last`` ends."""
    count = 0
    for run in range(start.shape[1]):
        count += stop[last, run] - start[first, run]
    return count


@njit(cache=True, nogil=True)
def _multiply(wanted: Floats, held: Floats, low: int, high: int, rows: int, out: Floats) -> None:
    """Multiply the first ``rows`` of ``wanted`` by the vectors [low, high) of ``held``."""
    dim, width = held.shape[1], out.shape[1]
    targets, events, products = wanted.ctypes.data, held.ctypes.data, out.ctypes.data
    for event in range(low, high, TILE_EVENTS):
        vectors, into = events + 4 * dim * event, products + 4 * event
        if rows == 3:
            tile_of_three(targets, vectors, dim, into, width)
        elif rows == 2:
            tile_of_two(targets, vectors, dim, into, width)
        else:
            tile_of_one(targets, vectors, dim, into, width)
