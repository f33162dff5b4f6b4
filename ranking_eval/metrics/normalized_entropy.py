"""Normalised entropy: log loss against that of always predicting the base rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from ranking_eval.metrics.arrays import Floats, check_both_labels, check_scored, check_weights
from ranking_eval.metrics.log_loss import compute_row_losses


def compute_normalized_entropy(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Compute the log loss divided by the entropy of the labels; below 1 beats the base rate.

    Parameters
    ----------
    labels : 0 or 1, one a row.
    probabilities : of label 1, from 0 to 1.
    weights : 0 or more, one a row; None for all 1.

    Raises
    ------
    EvaluationError
        One label only, a probability outside 0 to 1, NaN, or lengths that differ.

    Notes
    -----
    The base rate is that of these rows. One less this is the relative information gain.

    References
    ----------
    He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook",
    ADKDD 2014, section 2.1.

    Examples
    --------
    >>> compute_normalized_entropy([1, 0], [0.5, 0.5])
    1.0
    """
    positive, values = check_scored("normalized_entropy", labels, probabilities)
    row_weights = check_weights("normalized_entropy", weights, positive.size)
    check_both_labels("normalized_entropy", positive, row_weights)
    loss = np.average(compute_row_losses(positive, values), weights=row_weights)
    return float(loss / compute_entropy(np.average(positive, weights=row_weights)))


def compute_entropy(rate: Floats | float) -> Floats:
    """Return the entropy of a label that is 1 at this rate, in nats."""
    return np.asarray(entr(rate) + entr(1 - rate))
