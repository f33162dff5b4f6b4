"""Cosines of targets and the history items that each is compared with, in one flat array.

A row's history is a stretch of the sorted events, and rows that are neighbours share
most of theirs: their vectors are fetched once, turned into float32, and multiplied a
tile at a time (`sail_features.match.tile`). Nothing is listed for a row; scratch memory
is the vectors of the longest history and of `EVENTS_AHEAD` more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from sail_features.float16 import half_to_single, stored_bits
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
"""Events held beyond the longest history, so that a user's are fetched once."""
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
    start, stop : shape (rows,), each row's stretch of ``history``; both ascending.

    Returns
    -------
    Shape (sum of ``stop - start``,): row after row, in the order of the events.

    Notes
    -----
    The bits of a cosine depend on its two vectors alone. Cost: 2 x dim operations a
    pair, and fetching each event once and each target once.

    Examples
    --------
    >>> compute_similarity(np.eye(2, dtype=np.float32), np.array([0, 1]),
    ...                    np.float16([[0.6, 0.8], [0, 1]]), np.array([0, 1]),
    ...                    np.array([0, 0]), np.array([1, 2])).round(2)
    array([0.6, 0.8, 1. ], dtype=float32)
    """
    out = np.empty(int((stop - start).sum()), np.float32)
    if len(out):
        _compare(stored_bits(targets), target, stored_bits(histories), history, start, stop, out)
    return out


def _to_single(stored: Any) -> Any:
    """Return a stored number as float32; compiled code only."""


@overload(_to_single)
def _to_single_of(stored: Any) -> Callable[[Any], Any]:
    return _half_to_single if stored == types.int16 else _as_it_is


def _half_to_single(stored: Any) -> Any:
    return half_to_single(stored)


def _as_it_is(stored: Any) -> Any:
    return stored


@njit(cache=True, nogil=True)
def _fetch(vectors: NDArray[Any], row: int, into: Floats) -> None:
    for at in range(vectors.shape[1]):
        into[at] = _to_single(vectors[row, at])


@njit(cache=True, nogil=True)
def _group_end(start: Integers, stop: Integers, first: int) -> int:
    """Return the end of the rows that share a tile with row ``first`` without much waste."""
    needed = stop[first] - start[first]
    last = first + 1
    while last < min(first + TILE_ROWS, len(start)):
        needed += stop[last] - start[last]
        if (stop[last] - start[first]) * (last + 1 - first) > WASTE * needed:
            break
        last += 1
    return last


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
    dim = -(-targets.shape[1] // LANES) * LANES
    span = np.max(stop - start) * TILE_ROWS + EVENTS_AHEAD
    wanted = np.zeros((TILE_ROWS, dim), np.float32)
    held = np.empty((span + TILE_EVENTS, dim), np.float32)
    held[:, targets.shape[1] :] = 0
    product = np.empty((TILE_ROWS, span + TILE_EVENTS), np.float32)
    first, written = 0, 0
    base = held_to = start[0]
    while first < len(target):
        last = _group_end(start, stop, first)
        low, high = start[first], stop[last - 1]
        if low >= held_to or high - base > span:
            base = held_to = low
        for event in range(held_to, high):
            _fetch(histories, history[event], held[event - base])
        held_to = max(held_to, high)
        for row in range(first, last):
            if target[row] < 0:
                wanted[row - first] = 0
            else:
                _fetch(targets, target[row], wanted[row - first])
        _multiply(wanted, held, low - base, high - base, last - first, product)
        for row in range(first, last):
            count = stop[row] - start[row]
            from_ = start[row] - base
            out[written : written + count] = product[row - first, from_ : from_ + count]
            written += count
        first = last


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
