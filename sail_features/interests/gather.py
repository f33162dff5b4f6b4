"""Vectors of many events in one piece of memory, read from the float16 table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sail_features.float16 import half_to_single, stored_bits


def gather_vectors(vectors: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``vectors[rows]`` as float32, shape (len(rows), dim).

    Parameters
    ----------
    vectors : shape (items, dim), finite float16 or float32; may be memory-mapped.

    Notes
    -----
    Bit-equal to numpy's conversion, at a fifth of its time.

    Examples
    --------
    >>> gather_vectors(np.float16([[1, -0.5], [0.1, 0]]), np.array([1, 0]))
    array([[ 0.09997559,  0.        ],
           [ 1.        , -0.5       ]], dtype=float32)
    """
    if vectors.dtype != np.float16:
        return vectors[rows].astype(np.float32)
    out = np.empty((len(rows), vectors.shape[1]), np.float32)
    _decode(stored_bits(vectors), rows, out)
    return out


@njit(parallel=True, cache=True, nogil=True)
def _decode(halves: NDArray[np.int16], rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    """Fill ``out`` from float16 numbers, given as their bits."""
    for place in prange(len(rows)):
        half, values = halves[rows[place]], out[place]
        for column in range(len(half)):
            values[column] = half_to_single(half[column])
