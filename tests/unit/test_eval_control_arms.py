"""Arms of random vectors and of shorter histories: what they say of a lift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ranking_eval import Arm, Experiment, Outcome, compute_verdict, evaluate
from ranking_eval.control_arms import ControlArm, suspect_lost_lift
from ranking_eval.inference import Lift
from sail_features.config import EvalConfig
from sail_features.errors import EvaluationError

CONFIG = EvalConfig(seeds=(0, 1), max_rounds=40, early_stopping_rounds=10, controls=False)


def make_frame(*, leak, rows=4000):
    """Clicks by quality; ``match`` knows it, and the label too where there is a ``leak``.

    ``lagged`` is the same column an hour earlier: the quality without the label.
    """
    draw = np.random.default_rng(0)
    ctr, quality = draw.normal(size=(2, rows))
    label = (draw.random(rows) < 1 / (1 + np.exp(-0.5 * ctr - 1.2 * quality))).astype(int)
    noise = 0.4 * draw.normal(size=(2, rows))
    return pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(rows)],
            "user_id": draw.integers(0, 150, rows),
            "item_id": draw.integers(0, 60, rows),
            "event_timestamp": pd.Timestamp("2024-01-01", tz="UTC")
            + pd.to_timedelta(draw.integers(0, 30 * 86_400, rows), unit="s"),
            "label": label,
            "ctr": ctr,
            "match": (0 if leak else quality) + leak * label + noise[0],
            "lagged": (0 if leak else quality) + noise[1],
            "permuted": draw.permutation(quality),
            "random": draw.normal(size=rows),
        }
    )


def judge(frame, **roles):
    added = {"treatment": "match", "placebo": "permuted", "random": "random", "lagged": "lagged"}
    added |= roles
    arms = [Arm("control", ("ctr",)), *(Arm(arm, ("ctr", name)) for arm, name in added.items())]
    return evaluate(
        frame, Experiment("world", tuple(arms), CONFIG, random="random", lagged="lagged")
    )


@pytest.fixture(scope="module")
def honest():
    return judge(make_frame(leak=0))


def test_an_honest_lift_outlives_both(honest):
    assert compute_verdict(honest).outcome is Outcome.CREDIBLE
    random, lagged = honest.control_arms["random"], honest.control_arms["lagged"]
    assert random.lift["auc"].low < 0 < random.treatment_over["auc"].low
    assert lagged.lift["auc"].low > 0
    assert honest.suspicions == ()


def test_a_lift_that_vanishes_with_the_last_hour_is_a_suspected_leak():
    found = judge(make_frame(leak=0.7))
    assert found.lift["auc"].low > 0
    verdict = compute_verdict(found)
    assert verdict.outcome is Outcome.INVALID
    assert "the lift vanishes when histories are cut earlier" in verdict.sentence


def test_a_lift_that_random_vectors_share_is_not_credible():
    found = judge(make_frame(leak=0), random="match", lagged="match")
    verdict = compute_verdict(found)
    assert verdict.outcome is Outcome.NO_LIFT
    assert "random vectors share it: treatment - random +.0000" in verdict.sentence


def test_both_stand_in_comparisons_and_summary(honest):
    words = list(honest.comparisons())
    assert words[3:] == [
        "random - control",
        "treatment - random",
        "lagged - control",
        "treatment - lagged",
    ]
    told = honest.summary()["control_arms"]["lagged"]
    assert told["lift"]["auc"]["delta"] == honest.control_arms["lagged"].lift["auc"].delta
    assert set(told) == {"lift", "treatment_over"}


def lift_of(delta, half):
    return Lift("auc", delta, delta - half, delta + half, half / 2, 80.0)


@pytest.mark.parametrize(
    ("lift", "lost", "suspected"),
    [
        (lift_of(0.02, 0.005), lift_of(0.018, 0.005), True),
        (lift_of(0.02, 0.005), lift_of(0.012, 0.005), False),
        (lift_of(0.02, 0.030), lift_of(0.018, 0.005), False),
        (lift_of(0.02, 0.005), lift_of(-0.01, 0.005), False),
    ],
    ids=["nearly all of it is lost", "half may be left", "there was no lift", "it grew"],
)
def test_a_lift_is_lost_where_more_than_half_of_it_is_beyond_chance(lift, lost, suspected):
    left = replace(lift, delta=lift.delta - lost.delta)
    arms = {"lagged": ControlArm({"auc": left}, {"auc": lost})}
    assert bool(suspect_lost_lift(lift, arms)) is suspected
    assert suspect_lost_lift(lift, {}) == ()


def test_an_arm_of_a_role_must_exist_and_have_that_role_alone():
    arms = (Arm("control", ("a",)), Arm("treatment", ("b",)))
    with pytest.raises(EvaluationError, match="no arm named random"):
        Experiment("x", arms, placebo=None, random="random")
    with pytest.raises(EvaluationError, match="one arm can't have two roles"):
        Experiment("x", arms, placebo=None, lagged="treatment")
