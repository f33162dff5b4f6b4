"""The innermost loops that the clustering algorithms share, compiled to SIMD."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def dot(one: NDArray[np.float32], other: NDArray[np.float32]) -> np.float32:
    """Return the inner product in float32, in an order that the length alone decides."""
    total = np.float32(0)
    for place in range(len(one)):
        total += one[place] * other[place]
    return total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_scaled(total: NDArray[np.float32], vector: NDArray[np.float32], factor: np.float32) -> None:
    """Add ``factor * vector`` to ``total`` in place."""
    for place in range(len(total)):
        total[place] += factor * vector[place]


@njit(cache=True, nogil=True)
def renumber(labels: NDArray[np.int32], clusters: int) -> np.int32:
    """Give the labels numbers without gaps, by their first events; return how many there are.

    A label of -1, no cluster, stays.
    """
    number = np.full(clusters, -1, np.int32)
    used = np.int32(0)
    for event in range(len(labels)):
        label = labels[event]
        if label >= 0:
            if number[label] < 0:
                number[label] = used
                used += np.int32(1)
            labels[event] = number[label]
    return used
