"""Every ranker finds a planted lift, and learns from training rows alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ranking_eval import Arm, Experiment, evaluate
from ranking_eval.matrix import Matrix
from ranking_eval.metrics import compute_auc, compute_calibration_ratio
from ranking_eval.rankers import RANKERS, RankerRows, fit_ranker
from ranking_eval.split import split_rows
from ranking_eval.tuning import START, tune
from sail_features.config import EvalConfig

SETTINGS = {
    "lightgbm": {},
    "lambdarank": {"params": {"objective": "lambdarank"}},
    "logistic": {"ranker": "logistic"},
}


def config_of(name, **changes):
    return EvalConfig(seeds=(0, 1), max_rounds=60, controls=False, **SETTINGS[name], **changes)


def make_world(rows=4000, seed=0):
    draw = np.random.default_rng(seed)
    requests = rows // 5
    base, match = draw.normal(size=rows), draw.normal(size=rows)
    kind = draw.choice(["red", "white", None], rows)
    log_odds = -0.5 + 0.5 * base + 0.8 * match + 0.7 * (kind == "red")
    return pd.DataFrame(
        {
            "request_id": np.repeat([f"r{number}" for number in range(requests)], 5),
            "user_id": np.repeat(draw.integers(0, 120, requests), 5),
            "item_id": np.arange(rows),
            "event_timestamp": np.repeat(
                pd.Timestamp("2024-01-01", tz="UTC")
                + pd.to_timedelta(draw.integers(0, 30 * 86_400, requests), unit="s"),
                5,
            ),
            "label": (draw.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(int),
            "base": np.where(draw.random(rows) < 0.1, np.nan, base),
            "kind": kind,
            "match": match,
            "nothing": np.nan,
        }
    )


ARMS = (
    Arm("control", ("base", "kind", "nothing")),
    Arm("treatment", ("base", "kind", "nothing", "match")),
)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_planted_lift_is_found_by_every_ranker(name):
    found = evaluate(make_world(), Experiment("world", ARMS, config_of(name), placebo=None))
    assert found.lift["auc"].low > 0.05
    assert found.lift["log_loss"].high < 0
    importance = found.arms["treatment"].fit.importance
    assert max(importance, key=importance.get) == "match"
    assert importance["nothing"] == 0


def rows_of(seed=0):
    """The world as arrays, split by time."""
    frame = make_world(seed=seed).sort_values("event_timestamp", kind="stable")
    values = np.stack([frame["base"], frame["match"]], axis=1)
    labels = frame["label"].to_numpy()
    split = split_rows(frame["event_timestamp"], labels, EvalConfig())
    requests = frame["request_id"].astype("category").cat.codes.to_numpy().astype(np.int64)
    return RankerRows(Matrix(("base", "match"), values, {}), labels, requests, split)


@pytest.mark.parametrize("name", SETTINGS)
def test_scores_are_probabilities_of_each_seed_and_test_row(name):
    rows = rows_of()
    fit = fit_ranker(rows, config_of(name))
    assert fit.scores.shape == (2, rows.split.test.size)
    assert ((fit.scores > 0) & (fit.scores < 1)).all()
    labels = rows.labels[rows.split.test]
    assert compute_auc(labels, fit.scores[0]) > 0.65
    assert compute_calibration_ratio(labels, fit.scores[0]) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", SETTINGS)
def test_labels_of_test_rows_change_no_score(name):
    rows = rows_of()
    labels = rows.labels.copy()
    labels[rows.split.test] = 1 - labels[rows.split.test]
    flipped = fit_ranker(rows._replace(labels=labels), config_of(name))
    np.testing.assert_array_equal(fit_ranker(rows, config_of(name)).scores, flipped.scores)


def test_the_linear_ranker_cuts_outliers_and_knows_what_is_missing():
    rows = rows_of()
    values = rows.matrix.values.copy()
    values[rows.split.test[:5]] = 1e12
    values[rows.split.test[5:10]] = np.nan
    wild = Matrix(rows.matrix.columns, values, {})
    fit = fit_ranker(rows._replace(matrix=wild), config_of("logistic"))
    assert np.isfinite(fit.scores).all()
    assert np.ptp(fit.scores[0][5:10]) == 0


def test_the_configuration_knows_every_ranker():
    for name in RANKERS:
        assert EvalConfig(ranker=name).ranker == name
    with pytest.raises(ValueError, match="lightgbm"):
        EvalConfig(ranker="magic")


def test_importance_names_the_column_that_matters_and_not_the_empty_one():
    found = evaluate(make_world(), Experiment("world", ARMS, config_of("lightgbm"), placebo=None))
    assert next(iter(found.importance)) == "match"
    match, nothing = found.importance["match"], found.importance["nothing"]
    assert min(match.gain, match.contribution) > 0.4
    assert match.permutation > 0.05
    assert (nothing.gain, nothing.contribution, nothing.permutation) == (0, 0, 0)
    for share in ("gain", "contribution"):
        total = sum(getattr(one, share) for one in found.importance.values())
        assert total == pytest.approx(1)
    assert found.summary()["importance"]["match"]["gain"] == match.gain


def test_a_ranker_without_trees_has_no_such_importance():
    found = evaluate(make_world(), Experiment("world", ARMS, config_of("logistic"), placebo=None))
    assert found.importance == {}


def tuned_config(trials):
    return EvalConfig(
        seeds=(0, 1), max_rounds=30, controls=False, tuning_trials=trials, params={"max_bin": 63}
    )


def test_every_arm_is_tuned_in_as_many_trials_and_says_how():
    experiment = Experiment("world", ARMS, tuned_config(3), placebo=None)
    found = evaluate(make_world(rows=2000), experiment)
    notes = [note for note in found.notes if "was tuned" in note]
    assert [note.split(" was")[0] for note in notes] == ["arm control", "arm treatment"]
    assert all("in 3 trials: num_leaves" in note and "max_bin 63" in note for note in notes)
    assert found.notes == evaluate(make_world(rows=2000), experiment).notes


def test_tuning_never_looks_at_test_rows_and_never_loses_to_the_default():
    rows = rows_of()
    hidden = rows.matrix.values.copy()
    hidden[rows.split.test] = 7
    labels = rows.labels.copy()
    labels[rows.split.test] = 0
    blind = rows._replace(matrix=Matrix(rows.matrix.columns, hidden, {}), labels=labels)
    found = tune(rows, tuned_config(4))
    assert found == tune(blind, tuned_config(4))
    assert tune(rows, tuned_config(1)) == {**START, "max_bin": 63}
