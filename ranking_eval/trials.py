"""What comes before any judgement: rows checked and split, and an arm's fits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ranking_eval.experiment import Arm, Experiment
from ranking_eval.folds import Folds, fit_folds, number_folds, split_folds
from ranking_eval.guards import (
    check_available,
    check_feature_times,
    check_same_rows,
    check_trained_until,
)
from ranking_eval.inference import (
    REPORTED,
    InfluenceMatrix,
    JudgedRows,
    build_influence_matrix,
    compute_effective_users,
)
from ranking_eval.matrix import Matrix, build_matrix
from ranking_eval.metrics.arrays import Codes, Flags, Floats
from ranking_eval.rankers import Fit, RankerRows
from ranking_eval.rows import Frame, load_frames, read_codes, read_labels
from ranking_eval.slices import cut_slices
from ranking_eval.split import Split, split_rows
from ranking_eval.times import to_datetime, to_microseconds
from ranking_eval.tuning import tune
from sail_features import columns as c
from sail_features.config import EvalConfig

NOT_TRAINED: Final = {"seeds", "slices", "target_lift", "controls"}
"""Settings that change no fit of a given seed."""


class Setting(NamedTuple):
    """What all arms share: the rows of each, their labels and split, and what is judged."""

    experiment: Experiment
    frames: Mapping[str, pa.Table]
    labels: Codes
    requests: Codes
    split: Split
    folds: Folds
    judged: JudgedRows
    slices: Mapping[str, Flags]
    checks: tuple[str, ...]

    @property
    def rows(self) -> pa.Table:
        """The rows of control."""
        return self.frames[self.experiment.control]

    def count_rarer(self) -> float:
        """Return the effective clusters of the test rows of each label, the fewer of the two.

        An AUC of three clicks hangs on three users, however many others saw something.
        """
        clusters, positive = self.judged.clusters, self.judged.positive
        return min(
            compute_effective_users(np.bincount(clusters[kind])) for kind in (positive, ~positive)
        )

    def count_users(self) -> int:
        """Return how many users the rows are of."""
        return len(pc.unique(self.rows[c.USER_ID]))

    @property
    def tested(self) -> pa.Table:
        """The test rows of control."""
        return self.rows.take(pa.array(self.split.test))


class Trial(NamedTuple):
    """An arm's fits, the rows of unseen categories by column, and a hash of its features.

    ``tuned`` holds the parameters that were found for it, empty where none were looked for.
    """

    fit: Fit
    unseen: Mapping[str, int]
    digest: bytes
    tuned: Mapping[str, Any]


def prepare(frame: Frame | Mapping[str, Frame], experiment: Experiment) -> Setting:
    """Load, check and split the rows; raise what would make a judgement worthless.

    Raises
    ------
    LeakageError, EvaluationError, InputError
        As `ranking_eval.evaluate` says.
    """
    frames = load_frames(frame, experiment)
    rows = frames[experiment.control]
    labels = read_labels(rows)
    split = split_rows(rows[c.EVENT_TIMESTAMP], labels, experiment.eval)
    times = to_microseconds(rows[c.EVENT_TIMESTAMP])
    folds = split_folds(times, labels, split, experiment.eval)
    tested = rows.take(pa.array(split.test))
    judged = JudgedRows.of(
        labels[split.test] == 1,
        users=read_codes(tested, c.USER_ID),
        requests=read_codes(tested, c.REQUEST_ID),
        clusters=read_codes(tested, experiment.eval.cluster_by),
        folds=number_folds(folds, split.test),
    )
    setting = Setting(
        experiment,
        frames,
        labels,
        read_codes(rows, c.REQUEST_ID),
        split,
        folds,
        judged,
        cut_slices(rows, split, experiment.eval.slices),
        _run_guards(frames, experiment, split),
    )
    measure(setting, {"constant": np.zeros((1, split.test.size))})
    return setting


def build_arm_matrix(setting: Setting, arm: Arm) -> Matrix:
    """Return an arm's columns of all rows as the ranker reads them."""
    rows = setting.frames[arm.name]
    return build_matrix(rows, setting.experiment.ordered_columns(arm), setting.split.train)


def rows_for(setting: Setting, matrix: Matrix) -> RankerRows:
    """Return what a ranker gets: these features, and what all arms share."""
    return RankerRows(matrix, setting.labels, setting.requests, setting.split)


def fit_arm(setting: Setting, arm: Arm, config: EvalConfig) -> Trial:
    """Fit one ranker a seed on an arm's columns."""
    matrix = build_arm_matrix(setting, arm)
    rows, tuned = rows_for(setting, matrix), dict[str, Any]()
    if config.tuning_trials and config.ranker == "lightgbm":
        tuned = tune(rows, config)
        config = config.model_copy(update={"params": tuned})
    fit = fit_folds(rows, setting.folds, config)
    digest = hashlib.sha256("\n".join(matrix.columns).encode())
    digest.update(np.ascontiguousarray(matrix.values).view(np.uint8).data)
    return Trial(fit, matrix.unseen, digest.digest(), tuned)


def measure(setting: Setting, scores: Mapping[str, Floats]) -> InfluenceMatrix:
    """Compute every reported metric of each arm's scores, shape (seeds, test rows)."""
    return build_influence_matrix(setting.judged, scores, REPORTED)


def compute_noise_fingerprint(setting: Setting, control: Trial) -> str:
    """Return a hash of what training noise depends on: control's rows and parameters."""
    digest = hashlib.sha256(control.digest)
    digest.update(setting.labels.tobytes())
    digest.update(setting.judged.clusters.tobytes())
    digest.update(setting.experiment.eval.model_dump_json(exclude=NOT_TRAINED).encode())
    return digest.hexdigest()


def _run_guards(
    frames: Mapping[str, pa.Table], experiment: Experiment, split: Split
) -> tuple[str, ...]:
    """Raise at the first leak; return what was checked, in sentences."""
    distinct = list({id(rows): rows for rows in frames.values()}.values())
    times = to_microseconds(distinct[0][c.EVENT_TIMESTAMP])
    first_training_row = to_datetime(times[split.train].min())
    return (
        check_same_rows(frames),
        *(check_feature_times(rows) for rows in distinct),
        *(check_available(rows) for rows in distinct),
        check_trained_until(experiment.artefacts, first_training_row),
    )
