"""Controls: what must show nothing shows nothing, and is noticed where it doesn't."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ranking_eval import Arm, Experiment, Outcome, compute_verdict, controls, evaluate
from ranking_eval.controls import OTHER_SEEDS, PERMUTED, SHUFFLED, ControlLift
from ranking_eval.inference import Lift
from sail_features.config import EvalConfig

CONFIG = EvalConfig(seeds=(0, 1, 2), max_rounds=40, early_stopping_rounds=10)
ARMS = (
    Arm("control", ("ctr",)),
    Arm("treatment", ("ctr", "match")),
    Arm("placebo", ("ctr", "shuffled")),
)


def make_world(seed, *, rows=4000, users=150):
    draw = np.random.default_rng(seed)
    ctr, match = draw.normal(size=rows), draw.normal(size=rows)
    log_odds = 0.6 * ctr + 0.7 * match
    return pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(rows)],
            "user_id": draw.integers(0, users, rows),
            "item_id": draw.integers(0, 60, rows),
            "event_timestamp": pd.Timestamp("2024-01-01", tz="UTC")
            + pd.to_timedelta(draw.integers(0, 30 * 86_400, rows), unit="s"),
            "label": (draw.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(int),
            "ctr": ctr,
            "match": match,
            "shuffled": draw.permutation(match),
        }
    )


@pytest.mark.parametrize("seed", range(4))
def test_controls_show_nothing_where_the_treatment_lifts(seed):
    found = evaluate(make_world(seed), Experiment("world", ARMS, CONFIG))
    by_name = {one.name: one for one in found.controls}
    assert list(by_name) == [OTHER_SEEDS, SHUFFLED, PERMUTED]
    assert not any(one.is_alarming for one in found.controls)
    assert found.lift["auc"].low > 0.02
    for name in (OTHER_SEEDS, SHUFFLED):
        assert abs(by_name[name].lift.delta) < 0.02
    assert by_name[PERMUTED].lift.low < 0 < by_name[PERMUTED].lift.high
    assert compute_verdict(found).outcome is Outcome.CREDIBLE
    assert list(found.summary()["controls"]) == list(by_name)


def test_a_control_that_shows_something_makes_the_verdict_invalid(monkeypatch):
    """A harness in which shuffling does nothing, planted."""
    monkeypatch.setattr(
        controls, "_deal", lambda setting, seed: [(setting.split.test, setting.split.test)]
    )
    found = evaluate(make_world(0), Experiment("world", ARMS, CONFIG))
    assert [one.is_alarming for one in found.controls] == [False, True, True]
    verdict = compute_verdict(found)
    assert verdict.outcome is Outcome.INVALID
    assert "adds +" in verdict.sentence
    assert "where nothing can be added" in verdict.sentence


@pytest.mark.parametrize(
    ("seeds", "alarming"), [(None, True), (1, False), (2, False), (3, False), (8, True)]
)
def test_few_fits_by_chance_alike_are_no_alarm(seeds, alarming):
    """Of online_retail, three seeds: 5.7 standard errors above chance, of which five had 2.1."""
    lift = Lift("auc", 0.0105, 0.0069, 0.0141, 0.00185, 1080.0, p_value=1e-8)
    assert ControlLift(PERMUTED, lift, seeds).is_alarming is alarming


def test_controls_can_be_left_out():
    config = CONFIG.model_copy(update={"controls": False, "seeds": (0,)})
    assert evaluate(make_world(0), Experiment("world", ARMS, config)).controls == ()
