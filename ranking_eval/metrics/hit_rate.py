"""Hit rate@k: the share of lists with a positive among their first k items."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.metrics.ranked_lists import (
    EmptyPolicy,
    ListMetric,
    ListScore,
    TiedRuns,
    average_lists,
)


def compute_hit_rate(
    labels: ArrayLike,
    scores: ArrayLike,
    lists: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    k: int = 10,
    without_positive: EmptyPolicy = "skip",
) -> ListMetric:
    """Compute how often at least one positive is among the first k items of a list.

    Parameters
    ----------
    labels : 0 or 1, one a row.
    scores : any real numbers; they need to be comparable within a list only.
    lists : request (or user) of each row.
    weights : one a row; a list counts by their mean. None for all 1.
    k : how many items are looked at.
    without_positive : what to do with lists without a positive.

    Raises
    ------
    EvaluationError
        No list has a positive, NaN scores or lengths that differ.

    Notes
    -----
    Expected value over all orders of tied rows. O(n log n).

    Examples
    --------
    >>> compute_hit_rate([1, 0, 0], [0.5, 0.5, 0.1], [7, 7, 7], k=1).value
    0.5
    """
    return average_lists(
        "hit_rate", score_hits(k), labels, scores, lists, weights, without_positive
    )


def score_hits(k: int) -> ListScore:
    """Return the function that computes the chance of a hit in each list."""

    def score(runs: TiedRuns, positives: Codes) -> Floats:
        missed = np.ones(positives.size)
        _score_misses(runs.lists, runs.start, runs.size, runs.positives, k, missed)
        return 1 - missed

    return score


@njit(cache=True, nogil=True)
def _score_misses(
    lists: Codes, start: Codes, size: Codes, positives: Codes, k: int, missed: Floats
) -> None:
    """Multiply ``missed``, one a list, by the chance that each draw from a run misses.

    A run above the edge is taken whole; from the run at the edge as many rows are
    drawn, without replacement, as there are places left.
    """
    for run in range(lists.size):
        for drawn in range(min(max(k - start[run], 0), size[run])):
            misses_left = size[run] - positives[run] - drawn
            missed[lists[run]] *= max(misses_left, 0) / (size[run] - drawn)
