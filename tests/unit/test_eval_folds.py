"""Rolling folds: each block is scored by a ranker that saw nothing of it or after it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ranking_eval import Arm, Experiment, compute_auc, evaluate
from ranking_eval.folds import fit_folds, number_folds, split_folds
from ranking_eval.inference import METRICS, JudgedRows
from ranking_eval.matrix import Matrix
from ranking_eval.rankers import RankerRows
from ranking_eval.split import split_rows
from ranking_eval.times import to_microseconds
from sail_features.config import EvalConfig


def config_of(folds, **changes):
    return EvalConfig(
        seeds=(0, 1), max_rounds=40, test_share=0.4, folds=folds, controls=False, **changes
    )


def make_rows(config, *, rows=4000, seed=0):
    """A signal that begins to matter early in the test period."""
    draw = np.random.default_rng(seed)
    times = np.sort(draw.integers(0, 30 * 86_400_000_000, rows))
    signal = draw.normal(size=rows)
    matters = np.arange(rows) >= 0.65 * rows
    labels = (draw.random(rows) < 1 / (1 + np.exp(-1.2 * matters * signal))).astype(np.int64)
    stamps = pd.Series(pd.to_datetime(times, unit="us", utc=True))
    split = split_rows(stamps, labels, config)
    matrix = Matrix(("signal",), signal[:, None], {})
    ranker_rows = RankerRows(matrix, labels, np.arange(rows), split)
    return ranker_rows, to_microseconds(stamps), stamps


@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize("gap_s", [0.0, 3600.0])
def test_folds_cover_the_test_and_are_trained_on_what_was_before(folds, gap_s):
    config = config_of(folds, gap_s=gap_s)
    rows, times, _ = make_rows(config)
    found = split_folds(times, rows.labels, rows.split, config)
    assert len(found) == folds
    np.testing.assert_array_equal(
        np.concatenate([fold.test for fold in found]), np.sort(rows.split.test)
    )
    for fold in found:
        assert times[fold.train].max() + gap_s * 1e6 < times[fold.validation].min()
        assert times[fold.validation].max() + gap_s * 1e6 < times[fold.test].min()
        assert times[fold.train].min() == times[rows.split.train].min()
    sizes = [fold.train.size for fold in found]
    assert sizes == sorted(sizes)


def test_one_fold_is_the_split_itself():
    config = config_of(1)
    rows, times, _ = make_rows(config)
    assert split_folds(times, rows.labels, rows.split, config) == (rows.split,)
    assert number_folds((rows.split,), rows.split.test) is None


def test_a_block_is_scored_without_labels_of_its_own_or_later_rows():
    config = config_of(3)
    rows, times, _ = make_rows(config)
    folds = split_folds(times, rows.labels, rows.split, config)
    scores = fit_folds(rows, folds, config).scores
    number = number_folds(folds, rows.split.test)
    labels = rows.labels.copy()
    labels[folds[1].test.min() :] ^= 1
    again = fit_folds(rows._replace(labels=labels), folds, config).scores
    np.testing.assert_array_equal(scores[:, number < 2], again[:, number < 2])
    assert (scores[:, number == 2] != again[:, number == 2]).any()


def test_auc_pairs_rows_within_a_fold():
    draw = np.random.default_rng(0)
    positive, folds = draw.random(600) < 0.4, np.repeat([0, 1, 2], 200)
    scores = positive + draw.normal(size=600)
    rows = JudgedRows.of(positive, users=draw.integers(0, 50, 600), folds=folds)
    shifted = scores + 100 * folds
    expected = np.mean([compute_auc(positive[folds == k], scores[folds == k]) for k in range(3)])
    assert METRICS["auc"](rows, shifted).value == pytest.approx(expected)
    assert METRICS["auc"](rows, shifted).value == pytest.approx(METRICS["auc"](rows, scores).value)
    assert METRICS["grouped_auc"](rows, shifted).value == pytest.approx(
        METRICS["grouped_auc"](rows, scores).value
    )


def test_a_ranker_that_is_trained_again_learns_what_is_new():
    rows, _, stamps = make_rows(config_of(1))
    draw = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(len(stamps))],
            "user_id": draw.integers(0, 100, len(stamps)),
            "item_id": draw.integers(0, 60, len(stamps)),
            "event_timestamp": stamps,
            "label": rows.labels,
            "base": draw.normal(size=len(stamps)),
            "signal": rows.matrix.values[:, 0],
        }
    )
    arms = (Arm("control", ("base",)), Arm("treatment", ("base", "signal")))
    aucs = []
    for folds in (1, 8):
        experiment = Experiment("new", arms, config_of(folds), placebo=None)
        aucs.append(evaluate(frame, experiment).arms["treatment"].metrics["auc"])
    assert aucs[1] > aucs[0] + 0.03
