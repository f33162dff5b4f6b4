"""One call from a frame of impressions with features to a lift with an interval."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ranking_eval.ablation import Groups, ablate, check_groups
from ranking_eval.controls import run_controls
from ranking_eval.evaluation import ArmResult, Evaluation, Lifts
from ranking_eval.experiment import Experiment
from ranking_eval.formats import format_lift
from ranking_eval.importance import ColumnImportance, measure_importance
from ranking_eval.inference import (
    FEW_USERS,
    InfluenceMatrix,
    TrainingNoise,
    compute_references,
)
from ranking_eval.leaks import find_suspicions
from ranking_eval.metrics import compute_grouped_auc
from ranking_eval.rows import ORDER, Frame, read_codes
from ranking_eval.slice_lifts import compare_slices
from ranking_eval.trials import (
    Setting,
    Trial,
    build_arm_matrix,
    compute_noise_fingerprint,
    fit_arm,
    measure,
    prepare,
)
from sail_features import columns as c


def evaluate(
    frame: Frame | Mapping[str, Frame],
    experiment: Experiment,
    *,
    noise: TrainingNoise | None = None,
    groups: Groups | None = None,
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
    setting = prepare(frame, experiment)
    if progress:
        progress("looking for leaks")
    suspicions = _suspect(setting)
    trials = {}
    for arm in experiment.arms:
        if progress:
            progress(f"fitting arm {arm.name} with {len(experiment.eval.seeds)} seeds")
        trials[arm.name] = fit_arm(setting, arm, experiment.eval)
    found = _conclude(setting, trials, noise)
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
        suspicions=(*suspicions, *alarms),
        ablation=ablate(setting, groups, treatment, control, progress) if groups else (),
    )


def _explain(setting: Setting, treatment: Trial) -> Mapping[str, ColumnImportance]:
    experiment = setting.experiment
    if experiment.eval.ranker != "lightgbm":
        return {}
    matrix = build_arm_matrix(setting, experiment.arm(experiment.treatment))
    return measure_importance(treatment.fit, matrix, setting.labels, setting.split.test)


def _suspect(setting: Setting) -> tuple[str, ...]:
    """Look at the columns of control and treatment; a placebo's are the treatment's."""
    experiment, seen = setting.experiment, set[str]()
    found: list[str] = []
    for arm in experiment.arms:
        if arm.name in (experiment.control, experiment.treatment):
            new = [name for name in experiment.ordered_columns(arm) if name not in seen]
            seen.update(new)
            rows = setting.frames[arm.name]
            found += find_suspicions(rows, new, setting.labels, setting.split, experiment)
    return tuple(dict.fromkeys(found))


def _conclude(
    setting: Setting, trials: Mapping[str, Trial], noise: TrainingNoise | None
) -> Evaluation:
    experiment = setting.experiment
    control, treatment, placebo = experiment.control, experiment.treatment, experiment.placebo
    judged = measure(setting, {name: trial.fit.scores for name, trial in trials.items()})
    fingerprint = compute_noise_fingerprint(setting, trials[control])
    usable = noise if noise is not None and noise.fingerprint == fingerprint else None
    lift = _compare(judged, treatment, control, usable)
    notes = _note(setting, trials)
    if noise is not usable:
        notes.append(
            "training noise was calibrated on other rows or parameters and is not used: "
            "calibrate again"
        )
    return Evaluation(
        rows=setting.labels.size,
        users=np.unique(read_codes(setting.rows, c.USER_ID)).size,
        test_rows=setting.split.test.size,
        test_users=np.unique(setting.judged.users).size,
        arms={name: _describe(judged, name, trial) for name, trial in trials.items()},
        lift=lift,
        placebo=_compare(judged, placebo, control, usable) if placebo else {},
        lift_over_placebo=_compare(judged, treatment, placebo, usable) if placebo else {},
        split=setting.split.times(),
        checks=setting.checks,
        notes=tuple(notes),
        banner=_warn(lift),
        test_labels=setting.labels[setting.split.test],
        tested=_identify(setting),
        fingerprint=_fingerprint(setting, trials),
        references=_refer(setting, trials),
        slices=compare_slices(
            setting.judged,
            trials[treatment].fit.scores,
            trials[control].fit.scores,
            setting.slices,
        ),
        target_lift=experiment.eval.target_lift,
    )


def _refer(setting: Setting, trials: Mapping[str, Trial]) -> Mapping[str, float]:
    """Return other methods' errors; they know one ranker only, not several folds'."""
    if len(setting.folds) > 1:
        return {}
    experiment = setting.experiment
    return compute_references(
        setting.judged,
        trials[experiment.treatment].fit.scores,
        trials[experiment.control].fit.scores,
        read_codes(setting.tested, c.ITEM_ID),
    )


def _identify(setting: Setting) -> pa.Table:
    """Return what tells the test rows of two runs apart."""
    cluster = setting.tested[setting.experiment.eval.cluster_by]
    return setting.tested.select([*ORDER, c.LABEL]).append_column("cluster", cluster)


def _compare(judged: InfluenceMatrix, ours: str, theirs: str, noise: TrainingNoise | None) -> Lifts:
    known = noise.variance if noise else {}
    return {
        metric: judged.compare(metric, ours, theirs, training_variance=known.get(metric))
        for metric in judged.metrics
    }


def _describe(judged: InfluenceMatrix, arm: str, trial: Trial) -> ArmResult:
    values = {
        metric: tuple(judged.of_arm(metric, arm).values.tolist()) for metric in judged.metrics
    }
    return ArmResult(trial.fit, values)


def _fingerprint(setting: Setting, trials: Mapping[str, Trial]) -> str:
    users = read_codes(setting.rows, c.USER_ID)
    digest = hashlib.sha256(np.stack([setting.labels, users]).tobytes())
    for trial in trials.values():
        digest.update(trial.digest)
    return digest.hexdigest()


def _note(setting: Setting, trials: Mapping[str, Trial]) -> list[str]:
    """Say what was left out, set missing or cut short."""
    config = setting.experiment.eval
    tested = setting.judged
    by_user = compute_grouped_auc(tested.positive, np.zeros(tested.positive.size), tested.users)
    notes = [
        f"grouped AUC (impression-weighted, by user) leaves out {by_user.one_class} of "
        f"{by_user.groups + by_user.one_class} test users, whose labels are all the same"
    ]
    if len(config.seeds) == 1:
        notes.append("one seed: the intervals hold no training noise")
    for name, trial in trials.items():
        if max(trial.fit.best_iterations) == config.max_rounds:
            notes.append(f"arm {name} was still improving after {config.max_rounds} rounds")
        if trial.tuned:
            found = ", ".join(f"{key} {_show(value)}" for key, value in trial.tuned.items())
            notes.append(f"arm {name} was tuned in {config.tuning_trials} trials: {found}")
        notes += [
            f"arm {name}: {count} rows have a value of {column!r} not seen in training; "
            "taken as missing"
            for column, count in trial.unseen.items()
            if count
        ]
    return notes


def _show(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _warn(lift: Lifts) -> str | None:
    fewest = min(found.effective_users for found in lift.values())
    if fewest >= FEW_USERS:
        return None
    return (
        f"Few effective users: the test rows are worth {fewest:.1f} users of equal weight "
        f"(fewer than {FEW_USERS}). Read every interval with caution."
    )
