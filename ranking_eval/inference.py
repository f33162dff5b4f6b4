"""Intervals for the difference of two arms: users and training noise are both random.

The unit of sampling is the user. Row-wise tests (DeLong) call noise a lift up to
half of the time where impressions cluster by user; the delete-one-user jackknife
with a t quantile at the effective number of users holds its level even with 50
users of very unequal weight. Fits that differ in their seed only differ too, by
as much as a real lift, so the spread over seeds enters the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from ranking_eval.jackknife import WithoutUsers
from ranking_eval.metrics.arrays import Floats

CONFIDENCE: Final = 0.95
FEW_USERS: Final = 30
"""Below this many effective users an interval deserves a warning (chosen here)."""


@dataclass(frozen=True)
class Lift:
    """The difference of a metric between two arms, with its 95 % interval.

    ``delta`` is in the metric's own units (absolute AUC, nats of log loss, where
    lower is better), ``seed_spread`` the standard deviation of the difference
    over seeds, 0 with one seed.
    """

    metric: str
    delta: float
    low: float
    high: float
    standard_error: float
    effective_users: float
    seed_spread: float = 0.0


def compute_lift(
    metric: str, treatment: Sequence[WithoutUsers], control: Sequence[WithoutUsers]
) -> Lift:
    """Compute the mean difference over seeds and its interval.

    Parameters
    ----------
    metric : its name, for the result.
    treatment, control : one entry a seed, on the same test rows.

    Notes
    -----
    The variance is that of the jackknife over users, of leave-one-user-out
    differences averaged over seeds, plus ``(s2_T + s2_C) / S`` for training,
    with the variances of each arm's metric over its S seeds. These hold a part
    of the user noise once more, so the interval is somewhat too wide rather than
    too narrow. One seed says nothing about training noise; the interval then
    covers users alone.

    References
    ----------
    MacKinnon, Nielsen and Webb, "Fast and reliable jackknife and bootstrap
    methods for cluster-robust inference", Journal of Applied Econometrics 38,
    2023. Kish, "Survey Sampling", 1965, for the effective number of users.
    """
    pairs = list(zip(treatment, control, strict=True))
    deltas = np.array([ours.value - theirs.value for ours, theirs in pairs])
    without = np.mean([ours.without_user - theirs.without_user for ours, theirs in pairs], axis=0)
    user_rows = control[0].user_rows
    users = compute_effective_users(user_rows)
    training = compute_training_variance(treatment) + compute_training_variance(control)
    error = float(np.sqrt(compute_jackknife_variance(without[user_rows > 0]) + training))
    half = float(stdtrit(max(users - 1, 1), (1 + CONFIDENCE) / 2)) * error
    delta = float(deltas.mean())
    spread = float(deltas.std(ddof=1)) if deltas.size > 1 else 0.0
    return Lift(metric, delta, delta - half, delta + half, error, users, spread)


def compute_effective_users(user_rows: ArrayLike) -> float:
    """Return how many users of equal weight are worth as much as these (Kish).

    Examples
    --------
    >>> compute_effective_users([10, 10, 0])
    2.0
    """
    rows = np.asarray(user_rows, dtype=np.float64)
    return float(rows.sum() ** 2 / (rows**2).sum())


def compute_jackknife_variance(without_user: Floats) -> float:
    """Return the variance of an estimate from its values without each user."""
    users = without_user.size
    return float((users - 1) / users * ((without_user - without_user.mean()) ** 2).sum())


def compute_training_variance(seeds: Sequence[WithoutUsers]) -> float:
    """Return the variance that training adds to the mean over seeds; 0 for one seed."""
    if len(seeds) < 2:
        return 0.0
    return float(np.var([seed.value for seed in seeds], ddof=1) / len(seeds))
