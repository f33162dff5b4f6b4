"""One call from a frame of impressions with features to a lift with an interval."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ranking_eval.evaluation import ArmResult, Evaluation, Lifts
from ranking_eval.experiment import Arm, Experiment
from ranking_eval.guards import (
    check_available,
    check_feature_times,
    check_same_rows,
    check_trained_until,
)
from ranking_eval.inference import FEW_USERS, compute_lift
from ranking_eval.jackknife import METRICS, WithoutUsers
from ranking_eval.matrix import build_matrix
from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.ranker import Fit, fit_ranker
from ranking_eval.rows import Frame, load_frames, read_labels, read_users
from ranking_eval.split import Split, split_rows
from ranking_eval.times import to_datetime, to_microseconds
from sail_features import columns as c


class _Setting(NamedTuple):
    """What all arms share."""

    experiment: Experiment
    labels: Codes
    users: Codes
    split: Split

    @property
    def test_labels(self) -> Codes:
        return self.labels[self.split.test]

    @property
    def test_users(self) -> Codes:
        """Users of the test rows, as codes 0, 1, ... that all occur."""
        return np.unique(self.users[self.split.test], return_inverse=True)[1]


class _Trial(NamedTuple):
    """What one arm came to; ``judged`` has one entry a seed for each metric."""

    fit: Fit
    judged: Mapping[str, list[WithoutUsers]]
    unseen: Mapping[str, int]
    digest: bytes


def evaluate(
    frame: Frame | Mapping[str, Frame],
    experiment: Experiment,
    *,
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
    frames = load_frames(frame, experiment)
    rows = frames[experiment.control]
    labels = read_labels(rows)
    split = split_rows(rows[c.EVENT_TIMESTAMP], labels, experiment.eval)
    setting = _Setting(experiment, labels, read_users(rows), split)
    checks = _run_guards(frames, setting)
    _judge(np.zeros((1, split.test.size)), setting)

    trials = {}
    for arm in experiment.arms:
        if progress:
            progress(f"fitting arm {arm.name} with {len(experiment.eval.seeds)} seeds")
        trials[arm.name] = _try_arm(frames[arm.name], arm, setting)
    return _conclude(setting, trials, checks)


def _run_guards(frames: Mapping[str, pa.Table], setting: _Setting) -> tuple[str, ...]:
    """Raise at the first leak; return what was checked, in sentences."""
    split = setting.split
    distinct = list({id(rows): rows for rows in frames.values()}.values())
    times = to_microseconds(distinct[0][c.EVENT_TIMESTAMP])
    first_training_row = to_datetime(times[split.train].min())
    return (
        check_same_rows(frames),
        *(check_feature_times(rows) for rows in distinct),
        *(check_available(rows) for rows in distinct),
        check_trained_until(setting.experiment.artefacts, first_training_row),
    )


def _try_arm(rows: pa.Table, arm: Arm, setting: _Setting) -> _Trial:
    experiment, split = setting.experiment, setting.split
    matrix = build_matrix(rows, experiment.ordered_columns(arm), split.train)
    fit = fit_ranker(matrix, setting.labels, split, experiment.eval)
    digest = hashlib.sha256("\n".join(matrix.columns).encode())
    digest.update(np.ascontiguousarray(matrix.values).view(np.uint8).data)
    return _Trial(fit, _judge(fit.scores, setting), matrix.unseen, digest.digest())


def _judge(scores: Floats, setting: _Setting) -> dict[str, list[WithoutUsers]]:
    """Compute every metric, with and without each user, for each seed's scores."""
    labels, users = setting.test_labels, setting.test_users
    return {
        name: [metric(labels, of_seed, users) for of_seed in scores]
        for name, metric in METRICS.items()
    }


def _conclude(
    setting: _Setting, trials: Mapping[str, _Trial], checks: tuple[str, ...]
) -> Evaluation:
    experiment = setting.experiment
    control, treatment = trials[experiment.control], trials[experiment.treatment]
    placebo = trials[experiment.placebo] if experiment.placebo else None
    lift = _compare(treatment, control)
    return Evaluation(
        rows=setting.labels.size,
        users=np.unique(setting.users).size,
        test_rows=setting.split.test.size,
        test_users=np.unique(setting.test_users).size,
        arms={name: _describe(trial) for name, trial in trials.items()},
        lift=lift,
        placebo=_compare(placebo, control) if placebo else {},
        lift_over_placebo=_compare(treatment, placebo) if placebo else {},
        split=setting.split.times(),
        checks=checks,
        notes=tuple(_note(setting, trials)),
        banner=_warn(lift),
        test_labels=setting.test_labels,
        fingerprint=_fingerprint(setting, trials),
    )


def _compare(ours: _Trial, theirs: _Trial) -> Lifts:
    return {name: compute_lift(name, ours.judged[name], theirs.judged[name]) for name in METRICS}


def _describe(trial: _Trial) -> ArmResult:
    values = {name: tuple(seed.value for seed in seeds) for name, seeds in trial.judged.items()}
    return ArmResult(trial.fit, values)


def _fingerprint(setting: _Setting, trials: Mapping[str, _Trial]) -> str:
    digest = hashlib.sha256(np.stack([setting.labels, setting.users]).tobytes())
    for trial in trials.values():
        digest.update(trial.digest)
    return digest.hexdigest()


def _note(setting: _Setting, trials: Mapping[str, _Trial]) -> list[str]:
    """Say what was left out, set missing or cut short."""
    config = setting.experiment.eval
    user_rows = trials[setting.experiment.control].judged["grouped_auc"][0].user_rows
    notes = [
        f"grouped AUC (impression-weighted, by user) leaves out {(user_rows == 0).sum()} of "
        f"{user_rows.size} test users, whose labels are all the same"
    ]
    if len(config.seeds) == 1:
        notes.append("one seed: the intervals hold no training noise")
    for name, trial in trials.items():
        if max(trial.fit.best_iterations) == config.max_rounds:
            notes.append(f"arm {name} was still improving after {config.max_rounds} rounds")
        notes += [
            f"arm {name}: {count} rows have a value of {column!r} not seen in training; "
            "taken as missing"
            for column, count in trial.unseen.items()
            if count
        ]
    return notes


def _warn(lift: Lifts) -> str | None:
    fewest = min(found.effective_users for found in lift.values())
    if fewest >= FEW_USERS:
        return None
    return (
        f"Few effective users: the test rows are worth {fewest:.1f} users of equal weight "
        f"(fewer than {FEW_USERS}). Read every interval with caution."
    )
