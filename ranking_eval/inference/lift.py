"""Intervals for the difference of two arms: clusters and training noise are both random.

The unit of sampling is the user. Row-wise tests (DeLong) call noise a lift up to
half of the time where impressions cluster by user; the delete-one-user jackknife
with a t quantile at the effective number of users holds its level even with 50
users of very unequal weight. Fits that differ in their seed only differ too, by
as much as a real lift, so training noise enters the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from ranking_eval.inference.power import CONFIDENCE, compute_detectable_effect
from ranking_eval.metrics.arrays import Floats

FEW_USERS: Final = 30
"""Below this many effective users an interval deserves a warning (chosen here)."""
TOO_FEW_USERS: Final = 10
"""Below this many effective users there is no verdict (chosen here)."""

NoiseSource = Literal["calibrated", "seed spread", "none"]
"""Where the training noise of an interval comes from: many fits of control, measured
once; the spread of the few seeds at hand, which is conservative; or a single seed."""


@dataclass(frozen=True)
class Lift:
    """The difference of a metric between two arms, with its 95 % interval.

    ``delta`` is in the metric's own units (absolute AUC, nats of log loss, where
    lower is better). ``standard_error`` holds the noise of users and of training,
    ``training_error`` the latter alone. ``detectable`` is the smallest true
    difference that would be found with a power of 80 %. ``seed_spread`` is the
    standard deviation of the difference over seeds, 0 with one seed.
    """

    metric: str
    delta: float
    low: float
    high: float
    standard_error: float
    effective_users: float
    seed_spread: float = 0.0
    p_value: float = 1.0
    detectable: float = 0.0
    training_error: float = 0.0
    training_noise: NoiseSource = "none"


Lifts: TypeAlias = Mapping[str, Lift]
"""The difference of two arms, by metric."""


class ArmInfluence(NamedTuple):
    """A metric of one arm: value of each seed, and influence, shape (clusters, seeds)."""

    values: Floats
    influence: Floats


def compute_lift(
    metric: str,
    treatment: ArmInfluence,
    control: ArmInfluence,
    rows: Floats,
    *,
    training_variance: float | None = None,
) -> Lift:
    """Compute the mean difference over seeds and its interval.

    Parameters
    ----------
    metric : its name, for the result.
    treatment, control : on the same test rows, with the same number of seeds.
    rows : shape (clusters,), the rows by which each cluster enters.
    training_variance : of one fit's metric over seeds, as calibrated on control
        (`ranking_eval.inference.training_noise`); None takes the spread over the
        seeds at hand.

    Notes
    -----
    The variance is that of the jackknife over users, of leave-one-user-out
    differences averaged over seeds, plus ``2 tau2 / S`` for training. Without a
    calibrated tau2 it is ``(s2_T + s2_C) / S`` with the variances of each arm's
    metric over its S seeds. These hold a part of the user noise once more, so the
    interval is somewhat too wide rather than too narrow. One seed says nothing
    about training noise; the interval then covers users alone.

    References
    ----------
    MacKinnon, Nielsen and Webb, "Fast and reliable jackknife and bootstrap
    methods for cluster-robust inference", Journal of Applied Econometrics 38,
    2023. Kish, "Survey Sampling", 1965, for the effective number of users.
    """
    deltas = treatment.values - control.values
    influence = (treatment.influence - control.influence).mean(axis=1)
    users = compute_effective_users(rows)
    source, training = _choose_noise(treatment.values, control.values, training_variance)
    error = float(np.sqrt(compute_jackknife_variance(influence[rows > 0]) + training))
    freedom = max(users - 1, 1)
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    delta = float(deltas.mean())
    return Lift(
        metric=metric,
        delta=delta,
        low=delta - half,
        high=delta + half,
        standard_error=error,
        effective_users=users,
        seed_spread=float(deltas.std(ddof=1)) if deltas.size > 1 else 0.0,
        p_value=compute_p_value(delta, error, freedom),
        detectable=compute_detectable_effect(error, freedom),
        training_error=float(np.sqrt(training)),
        training_noise=source,
    )


def compute_effective_users(user_rows: ArrayLike) -> float:
    """Return how many users of equal weight are worth as much as these (Kish).

    Examples
    --------
    >>> compute_effective_users([10, 10, 0])
    2.0
    """
    rows = np.asarray(user_rows, dtype=np.float64)
    return float(rows.sum() ** 2 / (rows**2).sum())


def compute_jackknife_variance(influence: Floats) -> float:
    """Return the variance of an estimate from the influence of each cluster left out."""
    clusters = influence.size
    return float((clusters - 1) / clusters * ((influence - influence.mean()) ** 2).sum())


def _choose_noise(
    treatment: Floats, control: Floats, calibrated: float | None
) -> tuple[NoiseSource, float]:
    """Return where training noise comes from, and its variance of the mean difference."""
    seeds = control.size
    if calibrated is not None:
        return "calibrated", 2 * calibrated / seeds
    if seeds == 1:
        return "none", 0.0
    return "seed spread", float(treatment.var(ddof=1) + control.var(ddof=1)) / seeds


def compute_p_value(delta: float, error: float, freedom: float) -> float:
    """Return the two-sided p-value of a true difference of 0, by Student's t."""
    if error == 0:
        return float(delta == 0)
    return float(2 * stdtr(freedom, -abs(delta) / error))
