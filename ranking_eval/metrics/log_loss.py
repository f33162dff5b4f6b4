"""Log loss: how surprised the probabilities are by the labels; lower is better."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import (
    Flags,
    Floats,
    check_probabilities,
    check_scored,
    check_weights,
)

EPSILON: Final = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1, as scikit-learn does."""


def compute_log_loss(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Compute the mean negative log likelihood of the labels, in nats.

    Parameters
    ----------
    labels : 0 or 1, one a row; one label only is allowed.
    probabilities : of label 1, from 0 to 1; 0 and 1 are moved inwards by ``EPSILON``.
    weights : 0 or more, one a row; None for all 1.

    Raises
    ------
    EvaluationError
        A probability outside 0 to 1, NaN, or lengths that differ.

    Examples
    --------
    >>> round(compute_log_loss([1, 0], [0.5, 0.5]), 6)
    0.693147
    """
    positive, values = check_scored("log_loss", labels, probabilities)
    row_weights = check_weights("log_loss", weights, positive.size)
    return float(np.average(compute_row_losses(positive, values), weights=row_weights))


def compute_row_losses(positive: Flags, probabilities: Floats) -> Floats:
    """Return each row's negative log likelihood, in nats."""
    check_probabilities("log_loss", probabilities)
    clipped = np.clip(probabilities, EPSILON, 1 - EPSILON)
    return np.asarray(-np.log(np.where(positive, clipped, 1 - clipped)))
