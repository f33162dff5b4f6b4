"""Mean reciprocal rank (MRR): how far down a list its first positive is."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.metrics.ranked_lists import EmptyPolicy, ListMetric, TiedRuns, average_lists


def compute_mrr(
    labels: ArrayLike,
    scores: ArrayLike,
    lists: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    without_positive: EmptyPolicy = "skip",
) -> ListMetric:
    """Compute the mean of one over the rank of each list's first positive.

    Parameters
    ----------
    labels : 0 or 1, one a row.
    scores : any real numbers; they need to be comparable within a list only.
    lists : request (or user) of each row.
    weights : one a row; a list counts by their mean. None for all 1.
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
    Voorhees, "The TREC-8 Question Answering Track Report", 1999.

    Examples
    --------
    >>> compute_mrr([0, 1, 1], [0.9, 0.5, 0.1], [7, 7, 7]).value
    0.5
    """
    return average_lists(
        "mrr", score_reciprocal_rank, labels, scores, lists, weights, without_positive
    )


def score_reciprocal_rank(runs: TiedRuns, positives: Codes) -> Floats:
    """Return the reciprocal rank of each list's first positive."""
    ranks = np.zeros(positives.size)
    _score_first_hits(runs.lists, runs.start, runs.size, runs.positives, ranks)
    return ranks


@njit(cache=True, nogil=True)
def _score_first_hits(
    lists: Codes, start: Codes, size: Codes, positives: Codes, ranks: Floats
) -> None:
    """Fill ``ranks`` from the first run of each list that holds a positive.

    With p positives among b tied rows, the first is at place j with the chance
    ``C(b - j - 1, p - 1) / C(b, p)``, which is computed from that of place j - 1.
    """
    for run in range(lists.size):
        if ranks[lists[run]] > 0 or positives[run] == 0:
            continue
        tied, hits = size[run], positives[run]
        chance = hits / tied
        for place in range(tied - hits + 1):
            ranks[lists[run]] += chance / (start[run] + place + 1)
            if place < tied - hits:
                chance *= (tied - place - hits) / (tied - place - 1)
