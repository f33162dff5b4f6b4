"""What the arms' scores say: every comparison, its interval, and what belongs beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ranking_eval.control_arms import compare_control_arms
from ranking_eval.evaluation import ArmResult, Evaluation
from ranking_eval.inference import InfluenceMatrix, Lifts, TrainingNoise, compute_references
from ranking_eval.notes import list_notes, warn_of_few_users
from ranking_eval.rows import ORDER, read_codes
from ranking_eval.slice_lifts import compare_slices
from ranking_eval.trials import Setting, Trial, compute_noise_fingerprint, measure
from sail_features import columns as c


def conclude(
    setting: Setting, trials: Mapping[str, Trial], noise: TrainingNoise | None
) -> Evaluation:
    """Compare the arms' scores on the test rows.

    Parameters
    ----------
    trials : of every arm.
    noise : calibrated training noise; of other rows or parameters it isn't used.
    """
    experiment = setting.experiment
    control, treatment, placebo = experiment.control, experiment.treatment, experiment.placebo
    judged = measure(setting, {name: trial.fit.scores for name, trial in trials.items()})
    fingerprint = compute_noise_fingerprint(setting, trials[control])
    usable = noise if noise is not None and noise.fingerprint == fingerprint else None

    def compare(ours: str, theirs: str) -> Lifts:
        return _compare(judged, ours, theirs, usable)

    lift, rarer = compare(treatment, control), setting.count_rarer()
    notes = list_notes(setting, trials)
    if noise is not usable:
        notes.append(
            "training noise was calibrated on other rows or parameters and is not used: "
            "calibrate again"
        )
    return Evaluation(
        rows=setting.labels.size,
        users=setting.count_users(),
        test_rows=setting.split.test.size,
        test_users=np.unique(setting.judged.users).size,
        arms={name: _describe(judged, name, trial) for name, trial in trials.items()},
        lift=lift,
        placebo=compare(placebo, control) if placebo else {},
        lift_over_placebo=compare(treatment, placebo) if placebo else {},
        control_arms=compare_control_arms(experiment, compare),
        split=setting.split.times(),
        checks=setting.checks,
        notes=tuple(notes),
        banner=warn_of_few_users(lift, rarer),
        effective_of_rarer=rarer,
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
