"""Log loss: how surprised the probabilities are by the labels; lower is better."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import Flags, Floats, check_scored
from sail_features.errors import EvaluationError

EPSILON: Final = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1, as scikit-learn does."""


def compute_log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Compute the mean negative log likelihood of the labels, in nats.

    Parameters
    ----------
    labels : 0 or 1, one a row; one label only is allowed.
    probabilities : of label 1, from 0 to 1; 0 and 1 are moved inwards by ``EPSILON``.

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
    return float(compute_row_losses(positive, values).mean())


def compute_row_losses(positive: Flags, probabilities: Floats) -> Floats:
    """Return each row's negative log likelihood, in nats."""
    outside = (probabilities < 0) | (probabilities > 1)
    if outside.any():
        raise EvaluationError.bad_arrays(
            "log_loss", f"{outside.sum()} probabilities lie outside 0 to 1"
        )
    clipped = np.clip(probabilities, EPSILON, 1 - EPSILON)
    return np.asarray(-np.log(np.where(positive, clipped, 1 - clipped)))
