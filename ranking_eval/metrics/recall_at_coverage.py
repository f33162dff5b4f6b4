"""Recall at coverage: the share of positives among the best-scored part of all rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import check_scored, check_weights
from ranking_eval.metrics.score_order import order_scores
from sail_features.errors import EvaluationError


def compute_recall_at_coverage(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    coverage: float = 0.1,
) -> float:
    """Compute which share of the positives lies in the best-scored rows.

    Parameters
    ----------
    labels : 0 or 1, one a row.
    scores : any real numbers.
    weights : 0 or more, one a row; None for all 1.
    coverage : share of the rows (of their weight) that is taken, above 0 up to 1.

    Raises
    ------
    EvaluationError
        No row has label 1, a coverage outside 0 to 1, NaN, or lengths that differ.

    Notes
    -----
    Of rows that tie at the edge, the same share of each is taken: the mean over
    all orders of the tied rows.

    Examples
    --------
    >>> compute_recall_at_coverage([1, 1, 0, 0], [0.9, 0.3, 0.5, 0.1], coverage=0.5)
    0.5
    """
    positive, values = check_scored("recall_at_coverage", labels, scores)
    row_weights = check_weights("recall_at_coverage", weights, positive.size)
    if not 0 < coverage <= 1:
        raise EvaluationError.bad_arrays(
            "recall_at_coverage", f"coverage is {coverage:g}, expected above 0 up to 1"
        )
    if not row_weights @ positive:
        raise EvaluationError.undefined("recall_at_coverage", "no row has label 1")
    rows, starts = order_scores(-values)
    taken = np.append(0.0, np.cumsum(row_weights[rows]))[starts]
    found = np.append(0.0, np.cumsum((row_weights * positive)[rows]))[starts]
    return float(np.interp(coverage * taken[-1], taken, found) / found[-1])
