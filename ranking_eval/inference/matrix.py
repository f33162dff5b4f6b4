"""Everything that inference needs, in one array: what each cluster does to each number.

Clusters x metrics x slices x arms x seeds. Differences of arms, means over seeds,
intervals and covariances of any of them are sums over this array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ranking_eval.inference.lift import ArmInfluence, Lift, compute_lift
from ranking_eval.inference.metrics import METRICS
from ranking_eval.inference.rows import JudgedRows
from ranking_eval.metrics.arrays import Flags, Floats
from sail_features.errors import EvaluationError

EVERY_ROW: Final = "every row"
"""The slice that is always there, and first."""


@dataclass(frozen=True, eq=False)
class InfluenceMatrix:
    """Values and influences of all metrics, slices, arms and seeds.

    Parameters
    ----------
    metrics, slices, arms : names along the axes.
    values : shape (metrics, slices, arms, seeds).
    influence : shape (clusters, metrics, slices, arms, seeds): the value less that
        without the cluster. 8 bytes each.
    rows : shape (clusters, metrics, slices), the weight by which a cluster enters.
    undefined : why a metric has no value in a slice, by (metric, slice); its
        numbers are NaN.
    """

    metrics: tuple[str, ...]
    slices: tuple[str, ...]
    arms: tuple[str, ...]
    values: Floats
    influence: Floats
    rows: Floats
    undefined: Mapping[tuple[str, str], str]

    def of_arm(self, metric: str, arm: str, part: str = EVERY_ROW) -> ArmInfluence:
        """Return a metric of one arm in a slice, all seeds."""
        at = self.metrics.index(metric), self.slices.index(part), self.arms.index(arm)
        return ArmInfluence(self.values[at], self.influence[:, *at])

    def rows_of(self, metric: str, part: str = EVERY_ROW) -> Floats:
        """Return the weight by which each cluster enters a metric."""
        return np.asarray(self.rows[:, self.metrics.index(metric), self.slices.index(part)])

    def compare(
        self,
        metric: str,
        treatment: str,
        control: str,
        *,
        part: str = EVERY_ROW,
        training_variance: float | None = None,
    ) -> Lift:
        """Compute the lift of one arm over another in a slice, as `compute_lift` does.

        Raises
        ------
        EvaluationError
            The metric isn't defined in the slice.
        """
        reason = self.undefined.get((metric, part))
        if reason is not None:
            raise EvaluationError.undefined(f"{metric} of {part}", reason)
        return compute_lift(
            metric,
            self.of_arm(metric, treatment, part),
            self.of_arm(metric, control, part),
            self.rows_of(metric, part),
            training_variance=training_variance,
        )


def build_influence_matrix(
    rows: JudgedRows,
    scores: Mapping[str, Floats],
    metrics: Sequence[str],
    slices: Mapping[str, Flags] | None = None,
) -> InfluenceMatrix:
    """Measure every metric on every slice for every arm and seed.

    Parameters
    ----------
    rows : of all arms.
    scores : of each arm, shape (seeds, rows), the same number of seeds for all.
    metrics : names of `METRICS`.
    slices : which rows each part has, by its name; parts may overlap.

    Raises
    ------
    EvaluationError
        A metric isn't defined on all rows, or a score is NaN.
    """
    stacked = np.stack(list(scores.values()))
    if np.isnan(stacked).any():
        raise EvaluationError.bad_arrays("scores", f"{np.isnan(stacked).sum()} are NaN")
    parts = {EVERY_ROW: np.ones(rows.positive.size, bool), **(slices or {})}
    shape = (len(metrics), len(parts), *stacked.shape[:2])
    values = np.full(shape, np.nan)
    influence = np.full((rows.cluster_count, *shape), np.nan)
    entered = np.zeros((rows.cluster_count, *shape[:2]))
    undefined = {}
    for at, metric in enumerate(metrics):
        for place, (part, inside) in enumerate(parts.items()):
            own, own_scores = (
                (rows, stacked) if part == EVERY_ROW else (rows.take(inside), stacked[..., inside])
            )
            try:
                if not inside.any():
                    raise EvaluationError.undefined(metric, "no rows")
                for arm, seed in np.ndindex(*stacked.shape[:2]):
                    found = METRICS[metric](own, own_scores[arm, seed])
                    values[at, place, arm, seed] = found.value
                    influence[:, at, place, arm, seed] = found.influence
                entered[:, at, place] = found.rows
            except EvaluationError as error:
                if part == EVERY_ROW:
                    raise
                undefined[metric, part] = str(error).splitlines()[0]
    return InfluenceMatrix(
        tuple(metrics), tuple(parts), tuple(scores), values, influence, entered, undefined
    )
