"""Rows that teach nothing: one clear error before any fit, or a finite answer of no lift."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ranking_eval import Arm, Experiment, Outcome, compute_verdict, evaluate
from sail_features.config import EvalConfig
from sail_features.errors import EvaluationError

ARMS = (
    Arm("control", ("ctr",)),
    Arm("treatment", ("ctr", "match")),
    Arm("placebo", ("ctr", "permuted")),
)
CONFIG = EvalConfig(seeds=(0,), max_rounds=20, early_stopping_rounds=5, controls=False)


def make_frame(rows=2000, **columns):
    draw = np.random.default_rng(0)
    ctr, match = draw.normal(size=(2, rows))
    frame = pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(rows)],
            "user_id": draw.integers(0, 80, rows),
            "item_id": draw.integers(0, 60, rows),
            "event_timestamp": pd.date_range("2024-01-01", periods=rows, freq="min", tz="UTC"),
            "label": (draw.random(rows) < 1 / (1 + np.exp(-ctr - match))).astype(int),
            "ctr": ctr,
            "match": match,
            "permuted": draw.permutation(match),
        }
    )
    return frame.assign(**columns)


def judge(frame, config=CONFIG):
    said = []
    return evaluate(frame, Experiment("odd", ARMS, config), progress=said.append), said


def refuse(frame, words, config=CONFIG):
    said = []
    with pytest.raises(EvaluationError, match=words) as error:
        evaluate(frame, Experiment("odd", ARMS, config), progress=said.append)
    assert "Hint:" in str(error.value)
    assert said == [], "refused before the first fit"


def test_one_label_in_the_test_alone_is_refused():
    frame = make_frame()
    frame.loc[frame.index[1500:], "label"] = 1
    refuse(frame, "test part: all 500 rows have label 1")


def test_one_user_and_one_moment_are_refused():
    refuse(make_frame(user_id="u"), "one cluster holds every row")
    refuse(make_frame(event_timestamp=pd.Timestamp("2024-01-01", tz="UTC")), "no row lies from")


def test_two_users_get_a_banner_and_no_verdict():
    found, _ = judge(make_frame(user_id=np.arange(2000) % 2))
    assert "worth 2.0 users" in found.banner
    assert compute_verdict(found).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("value", [np.nan, 0.0, -7.5], ids=["nan", "zero", "constant"])
@pytest.mark.parametrize("ranker", ["lightgbm", "logistic"])
def test_features_that_say_nothing_lift_exactly_nothing(value, ranker):
    config = CONFIG.model_copy(update={"ranker": ranker})
    found, _ = judge(make_frame(match=value, permuted=value), config)
    assert found.lift["auc"].delta == pytest.approx(0, abs=1e-12)
    assert not compute_verdict(found).is_credible
    json.dumps(found.summary(), allow_nan=False)


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_every_score_tied_is_an_auc_of_one_half_in_all_arms(value):
    found, _ = judge(make_frame(ctr=value, match=value, permuted=value))
    for arm in found.arms.values():
        assert arm.metrics["auc"] == arm.metrics["grouped_auc"] == 0.5
    assert found.lift["auc"].low == found.lift["auc"].high == 0
    assert compute_verdict(found).outcome is Outcome.NO_LIFT
    for curve in found.curves.values():
        assert curve.roc.true_positive_rate.tolist() == [0, 1]
        assert set(curve.learning.auc.tolist()) == {0.5}


def test_infinities_and_huge_numbers_are_ordinary_values():
    frame = make_frame()
    frame.loc[::7, "match"] = np.inf
    frame.loc[::11, "match"] = -np.inf
    frame.loc[::13, "ctr"] = 1e300
    found, _ = judge(frame)
    json.dumps(found.summary(), allow_nan=False)


def test_a_request_a_row_and_an_item_a_row_are_ordinary():
    found, _ = judge(make_frame(item_id=np.arange(2000)))
    assert found.lift["auc"].low > 0


def test_three_clicks_get_no_verdict_however_many_users_there_are():
    frame = make_frame()
    frame["label"] = 0
    frame.loc[[500, 900, 1400, 1700, 1800, 1900], "label"] = 1
    found, _ = judge(frame)
    json.dumps(found.summary(), allow_nan=False)
    assert found.lift["auc"].effective_users > 50
    assert "Few effective users" in found.banner
    verdict = compute_verdict(found)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.sentence.startswith("no verdict from 3.0 effective users of the rarer label")
