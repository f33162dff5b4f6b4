"""Power: what an experiment could have found, and what it takes to find more."""

from __future__ import annotations

import math
from typing import Final

from scipy.special import stdtrit

CONFIDENCE: Final = 0.95
POWER: Final = 0.8
"""How often a true difference of the detectable size is found."""


def compute_detectable_effect(standard_error: float, freedom: float) -> float:
    """Return the smallest true difference that a test at 5 % finds in 80 % of runs.

    Parameters
    ----------
    standard_error : of the difference, with all its noise.
    freedom : degrees of freedom of the t quantiles.

    References
    ----------
    Bloom, "Minimum detectable effects", Evaluation Review 19, 1995.

    Examples
    --------
    >>> round(compute_detectable_effect(1.0, 1e9), 2)
    2.8
    """
    quantiles = stdtrit(freedom, (1 + CONFIDENCE) / 2) + stdtrit(freedom, POWER)
    return float(quantiles) * standard_error


def compute_users_needed(
    effect: float, *, users: float, user_error: float, training_error: float
) -> int | None:
    """Return how many users a wanted effect needs, with the seeds as they are.

    Parameters
    ----------
    effect : difference to be found, in the metric's units.
    users : effective users of the pilot.
    user_error, training_error : the two parts of the pilot's standard error.

    Returns
    -------
    Effective users, or None where training noise alone hides the effect.

    Examples
    --------
    >>> compute_users_needed(0.0014, users=100, user_error=0.001, training_error=0.0)
    401
    """
    allowed = _allowed_variance(effect) - training_error**2
    return math.ceil(users * user_error**2 / allowed) if allowed > 0 else None


def compute_seeds_needed(
    effect: float, *, seeds: int, user_error: float, training_error: float
) -> int | None:
    """Return how many seeds a wanted effect needs, with the users as they are.

    The parameters are those of `compute_users_needed`; None where the noise of
    users alone hides the effect.

    Examples
    --------
    >>> compute_seeds_needed(0.0028, seeds=3, user_error=0.0, training_error=0.002)
    13
    """
    allowed = _allowed_variance(effect) - user_error**2
    return max(1, math.ceil(seeds * training_error**2 / allowed)) if allowed > 0 else None


def _allowed_variance(effect: float) -> float:
    return (effect / compute_detectable_effect(1.0, math.inf)) ** 2
