"""NDCG@k: positives near the top of a list count more, against the best order."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import Codes, Floats, sum_by_group
from ranking_eval.metrics.ranked_lists import (
    EmptyPolicy,
    ListMetric,
    ListScore,
    TiedRuns,
    average_lists,
)


def compute_ndcg(
    labels: ArrayLike,
    scores: ArrayLike,
    lists: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    k: int = 10,
    without_positive: EmptyPolicy = "skip",
) -> ListMetric:
    """Compute the normalised discounted cumulative gain of the first k items of a list.

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

    References
    ----------
    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques",
    ACM TOIS 20, 2002. Discount ``1 / log2(1 + rank)``.

    Examples
    --------
    >>> round(compute_ndcg([0, 1], [0.9, 0.1], [7, 7]).value, 4)
    0.6309
    """
    return average_lists("ndcg", score_ndcg(k), labels, scores, lists, weights, without_positive)


def score_ndcg(k: int) -> ListScore:
    """Return the function that computes NDCG@k of each list."""
    discounts = np.append(0.0, np.cumsum(1 / np.log2(np.arange(k) + 2)))

    def score(runs: TiedRuns, positives: Codes) -> Floats:
        last = np.minimum(runs.start + runs.size, k)
        spread = discounts[last] - discounts[np.minimum(runs.start, k)]
        gain = sum_by_group(runs.positives / runs.size * spread, runs.lists, positives.size)
        best = discounts[np.minimum(positives, k)]
        return np.asarray(gain / np.where(best > 0, best, 1.0))

    return score
