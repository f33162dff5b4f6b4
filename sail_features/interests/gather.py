"""Vectors of many events in one piece of memory, read from the float16 table."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

SIGN: Final = np.int32(-(2**31))
SHIFT: Final = np.float32(2.0**112)
"""Between the exponents of a float16's bits read as a float32, and of its value."""


def gather_vectors(vectors: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``vectors[rows]`` as float32, shape (len(rows), dim).

    Parameters
    ----------
    vectors : shape (items, dim), finite float16 or float32; may be memory-mapped.

    Notes
    -----
    Bit-equal to numpy's conversion, which takes 3 ns a value; this one shifts bits and
    multiplies by a power of 2, in SIMD instructions, at a fifth of that.

    Examples
    --------
    >>> gather_vectors(np.float16([[1, -0.5], [0.1, 0]]), np.array([1, 0]))
    array([[ 0.09997559,  0.        ],
           [ 1.        , -0.5       ]], dtype=float32)
    """
    if vectors.dtype != np.float16:
        return vectors[rows].astype(np.float32)
    out = np.empty((len(rows), vectors.shape[1]), np.float32)
    _decode(vectors.view(np.int16), rows, out)
    return out


@njit(parallel=True, cache=True, nogil=True)
def _decode(halves: NDArray[np.int16], rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    """Fill ``out`` from float16 numbers, given as their bits."""
    for place in prange(len(rows)):
        half, values = halves[rows[place]], out[place]
        for column in range(len(half)):
            # Extended to 32 bits, so that the sign is where a float32 has it.
            bits = np.int32(half[column])
            size = np.int32(np.int32(bits & np.int32(0x7FFF)) << np.int32(13))
            values[column] = np.int32((bits & SIGN) | size).view(np.float32) * SHIFT
