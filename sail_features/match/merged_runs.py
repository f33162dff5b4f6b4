"""Several sorted streams as one, a stretch at a time, with bounded memory.

Each stretch ends where the first of the streams has to be read on, so that nothing of a
stretch is missing and no more than one batch of each stream is held.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from sail_features.match.block import Integers

Key = tuple[tuple[bool, Any], ...]


def iter_stretches(
    streams: Sequence[Iterable[pa.Table]], order: Sequence[str]
) -> Iterator[list[pa.Table]]:
    """Cut sorted streams into stretches of the order that they have together.

    Parameters
    ----------
    streams : each sorted by those of the columns in ``order`` that it has, nulls first.

    Yields
    ------
    The parts of a stretch, each sorted; all of it comes before all of the next one.

    Examples
    --------
    >>> ones = [pa.Table.from_pydict({"n": n}) for n in ([1, 5], [6, 9])]
    >>> others = [pa.Table.from_pydict({"n": [2, 7, 8]})]
    >>> [[p["n"].to_pylist() for p in parts] for parts in iter_stretches([ones, others], ["n"])]
    [[[1, 5], [2]], [[6], [7, 8]], [[9]]]
    """
    readers = [_Reader(iter(stream), order) for stream in streams]
    while readers := [reader for reader in readers if reader.fill()]:
        end = min(reader.last for reader in readers)
        yield [part for part in (reader.take(end) for reader in readers) if part.num_rows]


class _Reader:
    """One of the streams, with what is read and not yet taken of it."""

    def __init__(self, tables: Iterator[pa.Table], order: Sequence[str]) -> None:
        self._tables, self._order = tables, order
        self._held = pa.table({})

    def fill(self) -> bool:
        """Read on where nothing is left; return whether there is anything."""
        while not self._held.num_rows:
            following = next(self._tables, None)
            if following is None:
                return False
            self._held = following
        return True

    @property
    def last(self) -> Key:
        """The place of the last row held."""
        return self._key(self._held.num_rows - 1)

    def take(self, end: Key) -> pa.Table:
        """Take the rows up to a place."""
        count = bisect_right(range(self._held.num_rows), end, key=self._key)
        taken, self._held = self._held.slice(0, count), self._held.slice(count)
        return taken

    def _key(self, row: int) -> Key:
        names = [name for name in self._order if name in self._held.column_names]
        values = (self._held[name][row].as_py() for name in names)
        return tuple((value is not None, value) for value in values)


def merge_sorted(keys: Sequence[NDArray[Any]], lengths: Sequence[int]) -> Integers:
    """Return the order of rows that come as sorted parts, one after another.

    Parameters
    ----------
    keys : numbers that the rows are sorted by, the first first; each of shape (rows,).
    lengths : rows of each part.

    Notes
    -----
    Equal rows keep the order of their parts. Cost: rows x log(parts).

    Examples
    --------
    >>> merge_sorted([np.array([1, 5, 2, 5]), np.array([0, 7, 0, 6])], [2, 2])
    array([0, 2, 3, 1])
    """
    ends = np.cumsum(lengths)
    parts = [np.arange(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    columns = np.array([key.astype(np.float64) for key in keys[1:]])
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        merged = [_merge(keys[0], columns, left, right) for left, right in pairs]
        parts = merged + (parts[-1:] if len(parts) % 2 else [])
    return parts[0]


@njit(cache=True, nogil=True)
def _merge(
    first: Integers, others: NDArray[np.float64], left: Integers, right: Integers
) -> Integers:
    """Return two sorted parts' rows in one order."""
    merged = np.empty(len(left) + len(right), np.int64)
    at_left, at_right = 0, 0
    for place in range(len(merged)):
        if at_right == len(right):
            from_left = True
        elif at_left == len(left):
            from_left = False
        else:
            from_left = not _is_before(first, others, right[at_right], left[at_left])
        if from_left:
            merged[place] = left[at_left]
            at_left += 1
        else:
            merged[place] = right[at_right]
            at_right += 1
    return merged


@njit(cache=True, nogil=True)
def _is_before(first: Integers, others: NDArray[np.float64], one: int, other: int) -> bool:
    if first[one] != first[other]:
        return bool(first[one] < first[other])
    for key in range(len(others)):
        if others[key, one] != others[key, other]:
            return bool(others[key, one] < others[key, other])
    return False
