"""A run of rows for each item: its vectors, or the tokens of its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Runs:
    """Each item's run of rows in one array; ``counts`` 0 where it has none.

    Parameters
    ----------
    values : vectors, shape (rows, d), or token ids, shape (rows,); may be memory-mapped.
    starts, counts : shape (items,); item i has ``values[starts[i]:starts[i] + counts[i]]``.
    """

    values: NDArray[Any]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Sequence[NDArray[Any]]) -> Self:
        """Build it from one array an item, any of which may be empty."""
        return cls.by_counts(np.concatenate(parts), np.array([len(part) for part in parts]))

    @classmethod
    def by_counts(cls, values: NDArray[Any], counts: NDArray[np.int64]) -> Self:
        """Build it from rows that lie in the items' order."""
        return cls(values, np.cumsum(counts) - counts, counts)

    def select(self, rows: NDArray[np.int64]) -> Self:
        """Return the runs of some items, over the same values; none for a row of -1."""
        counts = np.where(rows >= 0, self.counts[rows], 0)
        return type(self)(self.values, self.starts[rows], counts)

    def take(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the runs of some items, padded with zeros, and what of them is there."""
        counts = self.counts[rows][:, None]
        places = np.arange(max(1, int(counts.max(initial=0))))
        there = places < counts
        found = self.values[np.where(there, self.starts[rows][:, None] + places, 0)]
        found[~there] = 0
        return found, there
