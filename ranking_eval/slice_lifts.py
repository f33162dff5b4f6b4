"""The lift of each slice with its interval, corrected for looking at many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ranking_eval.inference import (
    METRICS,
    TOO_FEW_USERS,
    ArmInfluence,
    JudgedRows,
    Lift,
    adjust_p_values,
    compute_lift,
)
from ranking_eval.metrics.arrays import Flags, Floats
from sail_features.errors import EvaluationError

SIGNIFICANCE: Final = 0.05


@dataclass(frozen=True)
class SliceLift:
    """A part of the test rows, and what the treatment does there.

    ``lift`` is None where it can't be told, for the ``reason``. ``adjusted_p`` is
    its p-value after Holm over all slices that were looked at.
    """

    name: str
    rows: int
    lift: Lift | None = None
    adjusted_p: float = 1.0
    reason: str = ""

    @property
    def is_harmed(self) -> bool:
        """Whether the treatment is worse here, beyond chance among all the slices."""
        return self.lift is not None and self.lift.delta < 0 and self.adjusted_p < SIGNIFICANCE

    @property
    def is_lifted(self) -> bool:
        """Whether the treatment is better here, beyond chance among all the slices."""
        return self.lift is not None and self.lift.delta > 0 and self.adjusted_p < SIGNIFICANCE


def compare_slices(
    judged: JudgedRows,
    treatment: Floats,
    control: Floats,
    slices: Mapping[str, Flags],
    *,
    metric: str = "auc",
) -> tuple[SliceLift, ...]:
    """Compute the lift of each slice.

    Parameters
    ----------
    judged : the test rows.
    treatment, control : scores, shape (seeds, test rows).
    slices : which test rows each part has, by its name.
    metric : one of `ranking_eval.inference.METRICS`, higher is better.

    Notes
    -----
    A slice of fewer than `TOO_FEW_USERS` effective clusters has no lift, and none
    enters the correction: its interval would say nothing.
    """
    found = [_compare(judged, treatment, control, name, slices[name], metric) for name in slices]
    told = [one for one in found if one.lift is not None]
    adjusted = adjust_p_values([one.lift.p_value for one in told if one.lift])
    by_name = dict(zip((one.name for one in told), adjusted.tolist(), strict=True))
    return tuple(replace(one, adjusted_p=by_name.get(one.name, 1.0)) for one in found)


def list_harmed(slices: Sequence[SliceLift]) -> list[str]:
    """Return the names of the slices that the treatment harms."""
    return [one.name for one in slices if one.is_harmed]


def _compare(
    judged: JudgedRows, treatment: Floats, control: Floats, name: str, inside: Flags, metric: str
) -> SliceLift:
    rows = judged.take(inside)
    count = int(inside.sum())
    try:
        ours, entered = _measure(metric, rows, treatment[:, inside])
        theirs, _ = _measure(metric, rows, control[:, inside])
        lift = compute_lift(metric, ours, theirs, entered)
    except EvaluationError as error:
        return SliceLift(name, count, reason=str(error).splitlines()[0])
    if lift.effective_users < TOO_FEW_USERS:
        return SliceLift(name, count, reason=f"{lift.effective_users:.1f} effective users")
    return SliceLift(name, count, lift)


def _measure(metric: str, rows: JudgedRows, scores: Floats) -> tuple[ArmInfluence, Floats]:
    """Return a metric of all seeds, and the weight by which each cluster enters it."""
    estimates = [METRICS[metric](rows, seed) for seed in scores]
    influence = np.stack([one.influence for one in estimates], axis=1)
    return ArmInfluence(np.array([one.value for one in estimates]), influence), estimates[0].rows
