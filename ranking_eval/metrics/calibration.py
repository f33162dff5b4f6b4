"""Calibration: whether probabilities are right on average, overall and in bins."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import (
    Flags,
    Floats,
    check_probabilities,
    check_scored,
    check_weights,
    sum_by_group,
)
from ranking_eval.metrics.score_order import order_scores
from sail_features.errors import EvaluationError


class CalibrationCurve(NamedTuple):
    """Bins of about equal weight, by ascending probability; arrays of shape (bins,)."""

    predicted: Floats
    """Mean probability."""
    observed: Floats
    """Share of label 1."""
    weight: Floats
    """Rows, or their weight."""


def compute_calibration_curve(
    labels: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int = 15,
) -> CalibrationCurve:
    """Compare the mean probability with the share of label 1, bin by bin.

    Parameters
    ----------
    labels : 0 or 1, one a row.
    probabilities : of label 1, from 0 to 1.
    weights : 0 or more, one a row; None for all 1.
    bins : how many, at most; there are fewer where many rows tie.

    Raises
    ------
    EvaluationError
        A probability outside 0 to 1, NaN, or lengths that differ.

    Notes
    -----
    Rows that tie share a bin, so the order of rows changes nothing. O(n log n).

    Examples
    --------
    >>> curve = compute_calibration_curve([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], bins=2)
    >>> curve.predicted.round(2).tolist(), curve.observed.tolist()
    ([0.15, 0.85], [0.0, 1.0])
    """
    positive, values, row_weights = _check(labels, probabilities, weights)
    rows, starts = order_scores(values)
    ends = np.append(0.0, np.cumsum(row_weights[rows]))[starts]
    middle = 0.5 * (ends[:-1] + ends[1:])
    bin_of_run = np.minimum(bins * middle / ends[-1], bins - 1).astype(np.int64)
    bin_of_row = np.empty_like(rows)
    bin_of_row[rows] = np.repeat(bin_of_run, np.diff(starts))
    weight = sum_by_group(row_weights, bin_of_row, bins)
    predicted = sum_by_group(row_weights * values, bin_of_row, bins)
    observed = sum_by_group(row_weights * positive, bin_of_row, bins)
    filled = weight > 0
    return CalibrationCurve(
        predicted[filled] / weight[filled], observed[filled] / weight[filled], weight[filled]
    )


def compute_calibration_error(
    labels: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int = 15,
) -> float:
    """Compute the mean distance of the calibration curve from the diagonal (ECE).

    Parameters are those of `compute_calibration_curve`.

    Notes
    -----
    Biased upwards: a perfect ranker has an error of about ``sqrt(rate / rows of a
    bin)``. Compare arms on the same rows and bins only.

    References
    ----------
    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using
    Bayesian Binning", AAAI 2015, for the error; bins of equal weight, not width.

    Examples
    --------
    >>> round(compute_calibration_error([0, 1], [0.25, 0.75], bins=2), 6)
    0.25
    """
    curve = compute_calibration_curve(labels, probabilities, weights, bins=bins)
    return float(np.average(abs(curve.predicted - curve.observed), weights=curve.weight))


def compute_calibration_ratio(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Compute the expected positives over the observed ones; above 1 promises too much.

    Parameters are those of `compute_calibration_curve`.

    Raises
    ------
    EvaluationError
        No row has label 1.

    Examples
    --------
    >>> compute_calibration_ratio([1, 0], [0.75, 0.75])
    1.5
    """
    positive, values, row_weights = _check(labels, probabilities, weights)
    observed = row_weights @ positive
    if not observed:
        raise EvaluationError.undefined("calibration_ratio", "no row has label 1")
    return float(row_weights @ values / observed)


def _check(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None
) -> tuple[Flags, Floats, Floats]:
    positive, values = check_scored("calibration", labels, probabilities)
    check_probabilities("calibration", values)
    return positive, values, check_weights("calibration", weights, positive.size)
