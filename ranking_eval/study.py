"""Which inputs are worth encoding: arms over subsets of them, value and cost in one table.

Title, description, image and sound, alone and together, fused early (one vector of
all) or late (features of each side by side): every subset is an arm over the same control.
The question is that of arXiv 2510.12299; the comparison is this judge's own. A study ranks
inputs and gives no verdict: the subset that is chosen should be judged as an experiment,
with its placebo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ranking_eval.cost import Cost, GivenCost, find_best_buys, measure_cost
from ranking_eval.evaluation import summarise_lifts
from ranking_eval.experiment import Arm, Artefact, Experiment
from ranking_eval.inference import InfluenceMatrix, Lift, Lifts, adjust_p_values
from ranking_eval.leaks import suspect_arms
from ranking_eval.notes import list_notes, warn_of_few_users
from ranking_eval.rows import Frame
from ranking_eval.trials import Setting, Trial, fit_arm, measure, prepare
from sail_features.config import EvalConfig
from sail_features.errors import EvaluationError

CONTROL: Final = "control"
UNKNOWN: Final = GivenCost()


@dataclass(frozen=True)
class Subset:
    """Some of the inputs: the columns made of them, which stand beside control's.

    No columns is the empty subset: control once more, which it must reproduce exactly.
    """

    name: str
    columns: tuple[str, ...] = ()
    cost: GivenCost = UNKNOWN


@dataclass(frozen=True)
class Study:
    """A comparison of subsets on the same rows, split, parameters and seeds.

    Parameters
    ----------
    control : columns that every arm has.
    subsets : at least one with columns; names are told as they are given.
    """

    name: str
    control: tuple[str, ...]
    subsets: tuple[Subset, ...]
    eval: EvalConfig = field(default_factory=EvalConfig)
    artefacts: tuple[Artefact, ...] = ()

    def __post_init__(self) -> None:
        """Check that there is something to compare."""
        if not any(subset.columns for subset in self.subsets):
            raise EvaluationError.bad_arms(f"study {self.name!r}", "no subset has a column")

    def as_experiment(self) -> Experiment:
        """Return the arms as the rest of the judge takes them; the first subset is compared."""
        arms = tuple(
            Arm(one.name, tuple(dict.fromkeys((*self.control, *one.columns))))
            for one in self.subsets
        )
        first = next(one.name for one in self.subsets if one.columns)
        return Experiment(
            self.name,
            (Arm(CONTROL, self.control), *arms),
            self.eval,
            treatment=first,
            placebo=None,
            artefacts=self.artefacts,
        )


@dataclass(frozen=True)
class SubsetResult:
    """What a subset gives: itself less control by metric, and what it costs.

    ``adjusted_p`` is the p-value of its AUC after Holm over all subsets with columns.
    """

    name: str
    columns: int
    metrics: Mapping[str, float]
    lift: Lifts
    cost: Cost
    adjusted_p: float = 1.0


@dataclass(frozen=True)
class StudyResult:
    """The outcome of a study; ``best_buys`` names the subsets on the Pareto front."""

    rows: int
    users: int
    test_rows: int
    control: Mapping[str, float]
    subsets: tuple[SubsetResult, ...]
    best_buys: tuple[str, ...]
    split: Mapping[str, str]
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    suspicions: tuple[str, ...]
    banner: str | None

    def gains(self) -> dict[str, Lift]:
        """Return the AUC that each subset gains."""
        return {one.name: one.lift["auc"] for one in self.subsets}

    def costs(self) -> dict[str, Cost]:
        """Return what each subset costs."""
        return {one.name: one.cost for one in self.subsets}

    def summary(self) -> dict[str, Any]:
        """Return the figures as JSON-able values."""
        return {
            "rows": self.rows,
            "users": self.users,
            "test_rows": self.test_rows,
            "control": dict(self.control),
            "subsets": {
                one.name: {
                    "columns": one.columns,
                    "metrics": dict(one.metrics),
                    "lift": summarise_lifts(one.lift),
                    "adjusted_p": one.adjusted_p,
                    "cost": one.cost.known(),
                }
                for one in self.subsets
            },
            "best_buys": list(self.best_buys),
            "split": dict(self.split),
            "checks": list(self.checks),
            "notes": list(self.notes),
            "suspicions": list(self.suspicions),
            "banner": self.banner,
        }


def run_study(
    frame: Frame, study: Study, progress: Callable[[str], None] | None = None
) -> StudyResult:
    """Fit control and every subset, and compare each with control.

    Parameters
    ----------
    frame : one row an impression, as `ranking_eval.evaluate` takes it.
    progress : called with one sentence before each arm.

    Raises
    ------
    LeakageError, EvaluationError, InputError
        As `ranking_eval.evaluate` says; or the empty subset differs from control, so that
        no other difference means anything.
    """
    experiment = study.as_experiment()
    setting = prepare(frame, experiment)
    trials = {}
    for arm in experiment.arms:
        if progress:
            progress(f"fitting {arm.name} with {len(study.eval.seeds)} seeds")
        trials[arm.name] = fit_arm(setting, arm, study.eval)
    reproduced = _check_empty(study, trials)
    judged = measure(setting, {name: trial.fit.scores for name, trial in trials.items()})
    subsets = _compare(study, setting, judged)
    return StudyResult(
        rows=setting.labels.size,
        users=setting.count_users(),
        test_rows=setting.split.test.size,
        control=_means(judged, CONTROL),
        subsets=subsets,
        best_buys=find_best_buys(
            {one.name: one.lift["auc"] for one in subsets}, {one.name: one.cost for one in subsets}
        ),
        split=setting.split.times(),
        checks=(*setting.checks, *reproduced),
        notes=tuple(list_notes(setting, trials)),
        suspicions=suspect_arms(setting, list(trials)),
        banner=warn_of_few_users(subsets[0].lift, setting.count_rarer()),
    )


def _compare(study: Study, setting: Setting, judged: InfluenceMatrix) -> tuple[SubsetResult, ...]:
    lifts = {
        one.name: {metric: judged.compare(metric, one.name, CONTROL) for metric in judged.metrics}
        for one in study.subsets
    }
    filled = [one.name for one in study.subsets if one.columns]
    adjusted = adjust_p_values([lifts[name]["auc"].p_value for name in filled])
    p_values = dict(zip(filled, adjusted.tolist(), strict=True))
    return tuple(
        SubsetResult(
            one.name,
            len(one.columns),
            _means(judged, one.name),
            lifts[one.name],
            measure_cost(setting.rows, one.columns, one.cost),
            p_values.get(one.name, 1.0),
        )
        for one in study.subsets
    )


def _means(judged: InfluenceMatrix, arm: str) -> dict[str, float]:
    return {metric: float(judged.of_arm(metric, arm).values.mean()) for metric in judged.metrics}


def _check_empty(study: Study, trials: Mapping[str, Trial]) -> tuple[str, ...]:
    """Raise where a subset without columns has other scores than control."""
    empty = [one.name for one in study.subsets if not one.columns]
    for name in empty:
        if not np.array_equal(trials[name].fit.scores, trials[CONTROL].fit.scores):
            raise EvaluationError.not_reproduced(name)
    return tuple(f"{name}: reproduces control's scores to the last bit" for name in empty)
