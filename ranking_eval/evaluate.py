"""One call from a frame of impressions with features to a lift with an interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from ranking_eval.ablation import Groups, ablate, check_groups
from ranking_eval.conclude import conclude
from ranking_eval.control_arms import suspect_lost_lift
from ranking_eval.controls import run_controls
from ranking_eval.cost import Cost, GivenCost, check_costs, measure_cost
from ranking_eval.curves import ArmCurves, LearningCurve, trace_learning, trace_roc
from ranking_eval.evaluation import Evaluation
from ranking_eval.experiment import Experiment
from ranking_eval.formats import format_lift
from ranking_eval.importance import ColumnImportance, measure_importance
from ranking_eval.inference import TrainingNoise
from ranking_eval.leaks import suspect_arms
from ranking_eval.rows import Frame
from ranking_eval.trials import (
    Setting,
    Trial,
    build_arm_matrix,
    fit_arm,
    prepare,
)

TREATMENT: Final = "treatment"
"""Under which the costs of all that the treatment adds are given and told."""


def evaluate(
    frame: Frame | Mapping[str, Frame],
    experiment: Experiment,
    *,
    noise: TrainingNoise | None = None,
    groups: Groups | None = None,
    costs: Mapping[str, GivenCost] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Judge whether the treatment's columns lift the ranker, and by how much.

    Parameters
    ----------
    frame : an Arrow table or pandas frame with one row an impression:
        request_id, user_id, item_id, event_timestamp (when it was shown, with a
        time zone), label (0 or 1), the columns of all arms, and any guard columns
        (names that end in ``feature_time`` or ``available_at``). Or one such
        frame for each arm, by the arm's name.
    experiment : arms, split, seeds and artefacts.
    noise : training noise from `ranking_eval.calibrate` on the same rows and
        parameters; None, or one of others, takes the spread over the seeds at hand.
    groups : columns that the treatment adds, by the name of what they belong to: each
        group is left out, and added alone, for two more fits of all seeds.
    costs : what was measured outside of a group's columns, by its name, or of all that the
        treatment adds, by ``treatment``; the bytes a row are measured here.
    progress : called with one sentence before each long step.

    Raises
    ------
    LeakageError
        A feature could not have been known at its impression's time.
    EvaluationError
        Arms that can't be compared, or too few rows, labels or users.
    InputError
        Ids, times or labels that are missing, null, mistyped or repeated.

    Notes
    -----
    All checks of rows come before the first fit. The order of the caller's rows
    changes nothing. Memory: the frame, its sorted copy, and one float64 matrix
    of an arm's columns at a time. Time: nearly all of it goes to arms x seeds fits.
    """
    check_groups(experiment, groups or {})
    check_costs(costs or {}, [TREATMENT, *(groups or {})])
    setting = prepare(frame, experiment)
    if progress:
        progress("looking for leaks")
    suspicions = suspect_arms(setting, [experiment.control, experiment.treatment])
    trials = {}
    for arm in experiment.arms:
        if progress:
            progress(f"fitting arm {arm.name} with {len(experiment.eval.seeds)} seeds")
        trials[arm.name] = fit_arm(setting, arm, experiment.eval)
    found = conclude(setting, trials, noise)
    treatment = trials[experiment.treatment].fit.scores
    control = trials[experiment.control].fit.scores
    controls = run_controls(setting, control, progress) if experiment.eval.controls else ()
    alarms = [
        f"the control {one.name!r} adds {format_lift(one.lift)} AUC where nothing can be added"
        for one in controls
        if one.is_alarming
    ]
    return replace(
        found,
        importance=_explain(setting, trials[experiment.treatment]),
        controls=controls,
        suspicions=(
            *suspicions,
            *alarms,
            *suspect_lost_lift(found.lift["auc"], found.control_arms),
        ),
        ablation=ablate(setting, groups, treatment, control, progress) if groups else (),
        curves={name: _trace(setting, name, trial) for name, trial in trials.items()},
        costs=_price(setting, groups or {}, costs or {}),
    )


def _trace(setting: Setting, arm: str, trial: Trial) -> ArmCurves:
    """Return an arm's curves, of the last fold's ranker where there are several."""
    fold = setting.folds[-1]
    of_fold = np.isin(setting.split.test, fold.test)
    labels = setting.labels[setting.split.test][of_fold]
    return ArmCurves(
        trace_roc(labels, trial.fit.scores[:, of_fold]), _trace_learning(setting, arm, trial)
    )


def _trace_learning(setting: Setting, arm: str, trial: Trial) -> LearningCurve | None:
    if setting.experiment.eval.ranker != "lightgbm":
        return None
    rows = setting.folds[-1].validation
    matrix = build_arm_matrix(setting, setting.experiment.arm(arm))
    return trace_learning(trial.fit.model, matrix.values[rows], setting.labels[rows])


def _price(setting: Setting, groups: Groups, costs: Mapping[str, GivenCost]) -> Mapping[str, Cost]:
    """Return the cost of all that the treatment adds, and of each group of it."""
    experiment = setting.experiment
    rows = setting.frames[experiment.treatment]
    priced = {TREATMENT: experiment.added_columns, **groups}
    return {name: measure_cost(rows, columns, costs.get(name)) for name, columns in priced.items()}


def _explain(setting: Setting, treatment: Trial) -> Mapping[str, ColumnImportance]:
    experiment = setting.experiment
    if experiment.eval.ranker != "lightgbm":
        return {}
    matrix = build_arm_matrix(setting, experiment.arm(experiment.treatment))
    return measure_importance(treatment.fit, matrix, setting.labels, setting.split.test)
