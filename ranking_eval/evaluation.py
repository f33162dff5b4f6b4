"""What an evaluation found: figures of each arm, and the differences that matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import pyarrow as pa

from ranking_eval.ablation import GroupValue
from ranking_eval.control_arms import ControlArms
from ranking_eval.controls import ControlLift
from ranking_eval.cost import Cost, find_best_buys
from ranking_eval.curves import ArmCurves
from ranking_eval.importance import ColumnImportance
from ranking_eval.inference import Lift, Lifts
from ranking_eval.metrics.arrays import Codes
from ranking_eval.rankers import Fit
from ranking_eval.slice_lifts import SliceLift

RANKED: Final = ("auc", "grouped_auc")
"""Metrics of the order that scores give, which the verdict compares in every arm."""


@dataclass(frozen=True, eq=False)
class ArmResult:
    """One arm: its rankers, and each metric on the test rows, one value a seed."""

    fit: Fit
    seed_metrics: Mapping[str, tuple[float, ...]]

    @property
    def metrics(self) -> dict[str, float]:
        """Each metric's mean over seeds."""
        return {name: sum(values) / len(values) for name, values in self.seed_metrics.items()}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outcome of an experiment.

    ``lift`` is treatment less control, ``placebo`` placebo less control and
    ``lift_over_placebo`` treatment less placebo, each by metric; the last two
    are empty without a placebo arm. ``checks`` are the guards that passed,
    ``banner`` a warning that belongs above every figure.
    """

    rows: int
    users: int
    test_rows: int
    test_users: int
    arms: Mapping[str, ArmResult]
    lift: Lifts
    placebo: Lifts
    lift_over_placebo: Lifts
    split: Mapping[str, str]
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    banner: str | None
    test_labels: Codes
    tested: pa.Table
    """Ids, times, labels and cluster of the test rows, in the order of all scores."""
    fingerprint: str
    """SHA-256 of times, users, labels and all arms' features."""
    references: Mapping[str, float] = field(default_factory=dict)
    """Standard error of the AUC lift by other methods, without training noise."""
    slices: tuple[SliceLift, ...] = ()
    """The lift of AUC in each part of the test rows."""
    controls: tuple[ControlLift, ...] = ()
    """What must show nothing, and what it shows."""
    control_arms: ControlArms = field(default_factory=dict)
    """Arms of random vectors and of shorter histories, where the experiment has them."""
    curves: Mapping[str, ArmCurves] = field(default_factory=dict)
    """ROC and learning curve of each arm."""
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """Of all that the treatment adds, by ``treatment``, and of each group of columns."""
    importance: Mapping[str, ColumnImportance] = field(default_factory=dict)
    """Of the treatment's columns; empty for a ranker that has no trees."""
    ablation: tuple[GroupValue, ...] = ()
    """What each group of columns is worth; empty unless it was asked for."""
    suspicions: tuple[str, ...] = ()
    """What looks like a leak, a sentence each."""
    effective_of_rarer: float = float("inf")
    """Effective users of the test rows of one label, the fewer of the two."""
    target_lift: float = 0.001
    """The smallest lift of AUC worth having."""

    def comparisons(self) -> dict[str, Lifts]:
        """Return every comparison that was made, by the words of the report."""
        found = {
            "treatment - control": self.lift,
            "placebo - control": self.placebo,
            "treatment - placebo": self.lift_over_placebo,
        }
        for role, arm in self.control_arms.items():
            found[f"{role} - control"] = arm.lift
            found[f"treatment - {role}"] = arm.treatment_over
        return {words: lifts for words, lifts in found.items() if lifts}

    def comparisons_of(self, metric: str) -> dict[str, Lift]:
        """Return what a reader is shown of a metric: of probabilities, the treatment's alone."""
        shown = self.comparisons() if metric in RANKED else {"treatment - control": self.lift}
        return {words: lifts[metric] for words, lifts in shown.items()}

    def gains(self) -> dict[str, Lift]:
        """Return what each group of columns adds alone, and the treatment all in all."""
        alone = {value.group: value.alone for value in self.ablation}
        return {**alone, "treatment": self.lift["auc"]}

    def worth_their_price(self) -> tuple[str, ...]:
        """Return what of `gains` no other one beats for as little."""
        return find_best_buys(self.gains(), self.costs) if self.ablation else ()

    def summary(self) -> dict[str, Any]:
        """Return the figures as JSON-able values; the same rows give the same summary."""
        return {
            "rows": self.rows,
            "users": self.users,
            "test_rows": self.test_rows,
            "test_users": self.test_users,
            "arms": {
                name: {**arm.metrics, "best_iterations": list(arm.fit.best_iterations)}
                for name, arm in self.arms.items()
            },
            "lift": summarise_lifts(self.lift),
            "placebo": summarise_lifts(self.placebo),
            "lift_over_placebo": summarise_lifts(self.lift_over_placebo),
            "split": dict(self.split),
            "checks": list(self.checks),
            "notes": list(self.notes),
            "banner": self.banner,
            "fingerprint": self.fingerprint,
            "references": dict(self.references),
            "slices": [_summarise_slice(one) for one in self.slices],
            "controls": summarise_lifts({one.name: one.lift for one in self.controls}),
            "control_arms": {
                role: {
                    "lift": summarise_lifts(arm.lift),
                    "treatment_over": summarise_lifts(arm.treatment_over),
                }
                for role, arm in self.control_arms.items()
            },
            "curves": {name: one.summary() for name, one in self.curves.items()},
            "costs": {name: one.known() for name, one in self.costs.items()},
            "worth_their_price": list(self.worth_their_price()),
            "importance": {name: asdict(one) for name, one in self.importance.items()},
            "ablation": [_summarise_group(one) for one in self.ablation],
            "suspicions": list(self.suspicions),
            "target_lift": self.target_lift,
        }


def summarise_lifts(lifts: Lifts) -> dict[str, dict[str, float | str]]:
    """Return the figures of each difference as JSON-able values."""
    return {
        metric: {
            "delta": lift.delta,
            "low": lift.low,
            "high": lift.high,
            "standard_error": lift.standard_error,
            "effective_users": lift.effective_users,
            "seed_spread": lift.seed_spread,
            "p_value": lift.p_value,
            "detectable": lift.detectable,
            "training_error": lift.training_error,
            "training_noise": lift.training_noise,
        }
        for metric, lift in lifts.items()
    }


def _summarise_group(value: GroupValue) -> dict[str, Any]:
    return {
        "group": value.group,
        "columns": list(value.columns),
        **summarise_lifts({"left_out": value.left_out, "alone": value.alone}),
        "adjusted_left_out": value.adjusted_left_out,
        "adjusted_alone": value.adjusted_alone,
    }


def _summarise_slice(part: SliceLift) -> dict[str, Any]:
    told = {} if part.lift is None else summarise_lifts({part.lift.metric: part.lift})
    return {
        "name": part.name,
        "rows": part.rows,
        **told,
        "adjusted_p": part.adjusted_p,
        "reason": part.reason,
    }
