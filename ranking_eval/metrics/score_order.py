"""Rows in the order of their scores, ties known to the last bit.

Sorting rows by a float is slow: it moves pairs, or chases row numbers. Here the
leading bits of the score and the row number share one 64-bit integer, which numpy
sorts with vector instructions; the few rows that agree in those leading bits and
differ below are put right afterwards.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ranking_eval.metrics.arrays import Codes, Floats

Keys = NDArray[np.uint64]

KEY_BITS: Final = 64
SIGN: Final = np.uint64(1 << 63)


class ScoreOrder(NamedTuple):
    """Row numbers in ascending order of score.

    ``starts`` has the place where each run of tied rows begins, and the number of
    rows at its end: run ``i`` is ``rows[starts[i]:starts[i + 1]]``.
    """

    rows: Codes
    starts: Codes


def order_scores(scores: Floats) -> ScoreOrder:
    """Order rows by score, without NaN; tied rows keep the order that they had.

    Notes
    -----
    O(n log n). About 32 bytes a row of scratch memory.

    Examples
    --------
    >>> order = order_scores(np.array([0.5, 0.1, 0.5]))
    >>> order.rows.tolist(), order.starts.tolist()
    ([1, 0, 2], [0, 1, 3])
    """
    keys = _to_keys(scores)
    keys -= keys.min()
    row_bits = max(scores.size - 1, 1).bit_length()
    cut = max(int(keys.max()).bit_length() + row_bits - KEY_BITS, 0)
    packed = keys >> np.uint64(cut)
    packed <<= np.uint64(row_bits)
    packed |= np.arange(scores.size, dtype=np.uint64)
    packed.sort()
    starts = _split_runs(packed, keys, np.uint64(row_bits))
    return ScoreOrder(packed.view(np.int64), starts)


def _to_keys(scores: Floats) -> Keys:
    """Return integers in the order of the floats; -0.0 becomes 0.0."""
    bits = (np.ascontiguousarray(scores) + 0.0).view(np.uint64)
    return np.where(bits >= SIGN, ~bits, bits | SIGN)


@njit(cache=True, nogil=True)
def _split_runs(packed: Keys, keys: Keys, row_bits: np.uint64) -> Codes:
    """Turn sorted packed integers into row numbers, in place; return where ties begin.

    Rows that agree in their leading bits are put in the order of their whole keys.
    """
    row_mask = (np.uint64(1) << row_bits) - np.uint64(1)
    starts = np.empty(packed.size + 1, np.int64)
    runs, begin = 0, 0
    while begin < packed.size:
        leading, end = packed[begin] >> row_bits, begin
        while end < packed.size and packed[end] >> row_bits == leading:
            packed[end] &= row_mask
            end += 1
        if end - begin > 1:
            rows = packed[begin:end]
            order = np.argsort(keys[rows], kind="mergesort")
            packed[begin:end] = rows[order]
        for place in range(begin, end):
            if place == begin or keys[packed[place]] != keys[packed[place - 1]]:
                starts[runs] = place
                runs += 1
        begin = end
    starts[runs] = packed.size
    return starts[: runs + 1].copy()
