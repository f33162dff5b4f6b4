"""Pairs in the right order within each group: many short lists, each counted in cache.

One pass puts the rows of a group side by side (counting sort by group and label); the
few pairs of a short list are then compared one by one. That is several times faster
than one sort of all rows, and a thousand times faster than a call for each group.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from ranking_eval.metrics.arrays import Codes, Flags, Floats

FEW_PAIRS: Final = 1024
"""Up to this many pairs of a group are compared one by one (chosen here)."""


class GroupWins(NamedTuple):
    """Weight of won pairs, of positives and of negatives of each group, shape (groups,).

    A pair counts by the product of its rows' weights; a tie is half a win.
    """

    wins: Floats
    positives: Floats
    negatives: Floats


def count_group_wins(
    positive: Flags, scores: Floats, weights: Floats, groups: Codes, size: int | None = None
) -> GroupWins:
    """Count the pairs in the right order within each group, for codes from 0.

    ``size`` is the number of codes, one more than the largest by default; codes
    that don't occur have zeros. Exact where weights are whole numbers.
    """
    count = int(groups.max()) + 1 if size is None else size
    ends = np.cumsum(np.bincount(groups, minlength=count))
    return GroupWins(*_count(positive, scores, weights, groups, ends))


@njit(cache=True, nogil=True)
def _count(
    positive: Flags, scores: Floats, weights: Floats, groups: Codes, ends: Codes
) -> tuple[Floats, Floats, Floats]:
    """Put each group's rows side by side, positives first, and count its pairs."""
    back = ends.copy()
    front = np.zeros_like(ends)
    front[1:] = ends[:-1]
    own_scores, own_weights = np.empty_like(scores), np.empty_like(weights)
    for row in range(scores.size):
        group = groups[row]
        if positive[row]:
            place = front[group]
            front[group] += 1
        else:
            back[group] -= 1
            place = back[group]
        own_scores[place], own_weights[place] = scores[row], weights[row]
    wins = np.zeros(ends.size)
    positives, negatives = np.zeros(ends.size), np.zeros(ends.size)
    begin = 0
    for group in range(ends.size):
        middle, end = front[group], ends[group]
        positives[group] = own_weights[begin:middle].sum()
        negatives[group] = own_weights[middle:end].sum()
        if (middle - begin) * (end - middle) <= FEW_PAIRS:
            wins[group] = _count_pairs(own_scores, own_weights, begin, middle, end)
        else:
            wins[group] = _search(own_scores, own_weights, begin, middle, end)
        begin = end
    return wins, positives, negatives


@njit(cache=True, nogil=True)
def _count_pairs(scores: Floats, weights: Floats, begin: int, middle: int, end: int) -> float:
    """Compare every positive with every negative."""
    won = 0.0
    for row in range(begin, middle):
        below = 0.0
        for other in range(middle, end):
            if scores[other] < scores[row]:
                below += weights[other]
            elif scores[other] == scores[row]:
                below += 0.5 * weights[other]
        won += weights[row] * below
    return won


@njit(cache=True, nogil=True)
def _search(scores: Floats, weights: Floats, begin: int, middle: int, end: int) -> float:
    """Sort the negatives and look every positive up in them."""
    order = np.argsort(scores[middle:end])
    negatives = scores[middle:end][order]
    below = np.zeros(order.size + 1)
    below[1:] = np.cumsum(weights[middle:end][order])
    won = 0.0
    for row in range(begin, middle):
        first = np.searchsorted(negatives, scores[row], "left")
        last = np.searchsorted(negatives, scores[row], "right")
        won += weights[row] * 0.5 * (below[first] + below[last])
    return won
