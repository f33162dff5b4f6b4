"""A metric with what each cluster does to it: exact, and in closed form.

Users, not rows, are what an experiment has many of: impressions of one user share
taste and session. The delete-one-user jackknife needs the metric without every
user; recomputing it costs users x rows, while sums over users give the same numbers
for the price of a sort.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ranking_eval.metrics.arrays import Floats
from sail_features.errors import EvaluationError


@dataclass(frozen=True, eq=False)
class Estimate:
    """A metric's value, and the influence of each cluster on it; shape (clusters,).

    Parameters
    ----------
    value : the metric on all rows.
    influence : the value less the value without the cluster: 0 for a cluster that
        the metric leaves out.
    rows : weight of the rows (or lists) by which each cluster enters.
    """

    value: float
    influence: Floats
    rows: Floats


def estimate_ratio(metric: str, numerators: Floats, denominators: Floats, rows: Floats) -> Estimate:
    """Return a ratio of sums over clusters with the influence of each.

    Raises
    ------
    EvaluationError
        One cluster holds all that the metric counts.
    """
    left = subtract(denominators.sum(), denominators)
    if not left.all():
        raise EvaluationError.undefined(
            f"{metric} interval", "one cluster holds every row it counts"
        )
    value = numerators.sum() / denominators.sum()
    without = subtract(numerators.sum(), numerators) / left
    return Estimate(float(value), value - without, rows)


def subtract(total: Floats | float, part: Floats) -> Floats:
    """Return what is left of a total weight, exactly 0 where the part is all of it."""
    left = total - part
    return np.where(left > 1e-12 * np.asarray(total), left, 0.0)
