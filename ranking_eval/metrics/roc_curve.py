"""The ROC curve: which share of the clicked is found at which price of the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import (
    Codes,
    Floats,
    check_both_labels,
    check_scored,
    check_weights,
)
from ranking_eval.metrics.score_order import order_scores


class RocCurve(NamedTuple):
    """Points from (0, 0) to (1, 1), by descending score; arrays of shape (points,)."""

    false_positive_rate: Floats
    true_positive_rate: Floats


def compute_roc_curve(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    points: int | None = None,
) -> RocCurve:
    """Compute the rates at every threshold that a score can be cut at.

    Parameters
    ----------
    labels : 0 or 1, one a row.
    scores : any real numbers; higher means more likely 1.
    weights : 0 or more, one a row; None for all 1.
    points : keep at most so many, evenly along the curve; None keeps all, one a distinct
        score and the origin.

    Raises
    ------
    EvaluationError
        One label only, NaN scores or lengths that differ.

    Notes
    -----
    Tied rows are one point, so the area under all points is the AUC. O(n log n).

    References
    ----------
    Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27, 2006,
    section 5 for ties.

    Examples
    --------
    >>> curve = compute_roc_curve([0, 1, 1], [0.1, 0.1, 0.9])
    >>> curve.false_positive_rate.tolist(), curve.true_positive_rate.tolist()
    ([0.0, 0.0, 1.0], [0.0, 0.5, 1.0])
    """
    positive, values = check_scored("roc_curve", labels, scores)
    row_weights = check_weights("roc_curve", weights, positive.size)
    check_both_labels("roc_curve", positive, row_weights)
    rows, starts = order_scores(-values)
    counted, won = row_weights[rows], positive[rows]
    rates = [_accumulate(counted * kind, starts) for kind in (~won, won)]
    curve = RocCurve(*rates)
    return curve if points is None else _thin(curve, points)


def _accumulate(weights: Floats, starts: Codes) -> Floats:
    """Return the share of the weight above each threshold, 0 first and 1 last."""
    total = np.append(0.0, np.cumsum(weights))[starts]
    return np.asarray(total / total[-1])


def _thin(curve: RocCurve, points: int) -> RocCurve:
    """Keep points evenly by the sum of both rates, which grows along the curve."""
    along = curve.false_positive_rate + curve.true_positive_rate
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], points)))
    kept = np.minimum(kept, along.size - 1)
    kept[-1] = along.size - 1
    return RocCurve(curve.false_positive_rate[kept], curve.true_positive_rate[kept])
