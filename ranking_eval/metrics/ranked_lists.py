"""Lists of items as a user sees them, best first, with ties kept as ties.

Scores that tie leave the order of their rows open, and rows are often logged in the
order of the ranker in production: to break ties by it would leak. List metrics are
therefore expectations over all orders of tied rows (McSherry and Najork, "Computing
Information Retrieval Performance Measures Efficiently in the Presence of Tied
Scores", ECIR 2008).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import (
    Codes,
    Flags,
    Floats,
    check_scored,
    check_weights,
    compute_codes,
    sum_by_group,
)
from ranking_eval.metrics.score_order import order_scores
from sail_features.errors import EvaluationError

EmptyPolicy = Literal["skip", "zero"]
"""What to do with a list without a positive: leave it out, or take it as 0."""


class TiedRuns(NamedTuple):
    """Runs of tied rows, list by list and best first; arrays of shape (runs,).

    ``start`` is the number of rows of the list that are scored higher.
    """

    lists: Codes
    start: Codes
    size: Codes
    positives: Codes


class ListMetric(NamedTuple):
    """A mean over lists, and how many lists there are with and without a positive."""

    value: float
    lists: int
    without_positive: int


ListScore = Callable[[TiedRuns, Codes], Floats]
"""Computes one value a list from the runs and the positives of each list."""


def find_runs(positive: Flags, scores: Floats, lists: Codes) -> TiedRuns:
    """Cut each list into runs of tied rows. O(n log n)."""
    best_first = order_scores(-scores)
    rank = np.repeat(np.arange(best_first.starts.size - 1), np.diff(best_first.starts))
    by_list = np.argsort(lists[best_first.rows], kind="stable")
    rows, rank = best_first.rows[by_list], rank[by_list]
    own = lists[rows]
    begins_list = np.append(True, own[1:] != own[:-1])
    starts = np.flatnonzero(begins_list | np.append(True, rank[1:] != rank[:-1]))
    first_row = np.maximum.accumulate(np.where(begins_list, np.arange(rows.size), 0))
    return TiedRuns(
        lists=own[starts],
        start=starts - first_row[starts],
        size=np.diff(np.append(starts, rows.size)),
        positives=np.add.reduceat(positive[rows].astype(np.int64), starts),
    )


def average_lists(
    where: str,
    score: ListScore,
    labels: ArrayLike,
    scores: ArrayLike,
    lists: ArrayLike,
    weights: ArrayLike | None,
    without_positive: EmptyPolicy,
) -> ListMetric:
    """Compute a metric of each list and its mean.

    ``weights`` are one a row; a list counts by the mean weight of its rows.

    Raises
    ------
    EvaluationError
        No list has a positive.
    """
    positive, values = check_scored(where, labels, scores)
    row_weights = check_weights(where, weights, positive.size)
    codes = compute_codes(lists, positive.size)
    of_list, found = score_lists(score, positive, values, codes)
    list_weights = average_by_list(row_weights, codes)
    has_positive = (found > 0) & (list_weights > 0)
    if not has_positive.any():
        raise EvaluationError.undefined(where, "no list has a row with label 1")
    counted = has_positive if without_positive == "skip" else list_weights > 0
    value = np.average(of_list[counted], weights=list_weights[counted])
    empty = int((list_weights > 0).sum() - has_positive.sum())
    return ListMetric(float(value), int(has_positive.sum()), empty)


def score_lists(
    score: ListScore, positive: Flags, scores: Floats, lists: Codes
) -> tuple[Floats, Codes]:
    """Return the metric (0 without a positive) and the positives of each list."""
    positives = sum_by_group(positive, lists, int(lists.max()) + 1).astype(np.int64)
    return score(find_runs(positive, scores, lists), positives), positives


def average_by_list(weights: Floats, lists: Codes) -> Floats:
    """Return the mean weight of each list's rows, 0 for codes that don't occur."""
    return np.asarray(np.bincount(lists, weights) / np.maximum(np.bincount(lists), 1))
