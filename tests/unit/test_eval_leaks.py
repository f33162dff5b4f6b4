"""Planted leaks are named, honest columns are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ranking_eval import Arm, Experiment, Outcome, compute_verdict, evaluate
from ranking_eval.leaks import find_suspicions
from ranking_eval.rows import load_rows, read_labels
from ranking_eval.split import split_rows
from sail_features.config import EvalConfig

HONEST = ["item_rate", "user_rate", "content", "noise", "seen", "constant"]


def make_log(seed, *, rows=20_000, items=500, users=600):
    """A log with drifting items and users who come and go, and columns of its past."""
    draw = np.random.default_rng(seed)
    time = np.sort(draw.random(rows))
    item = draw.choice(items, rows, p=draw.dirichlet(np.full(items, 0.5)))
    user = (time * users * 0.7 + draw.random(rows) * users * 0.3).astype(int)
    quality = draw.normal(size=items) * 0.8
    log_odds = -0.5 + quality[item] + 0.5 * draw.normal(size=users)[user] + 0.3 * np.sin(6 * time)
    label = (draw.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(int)
    frame = pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(rows)],
            "user_id": user,
            "item_id": item,
            "event_timestamp": pd.Timestamp("2024-01-01", tz="UTC")
            + pd.to_timedelta((time * 30 * 86_400 * 1e6).astype(int), unit="us"),
            "label": label,
            "content": quality[item] + 0.3 * draw.normal(size=rows),
            "noise": draw.normal(size=rows),
            "constant": 1.0,
        }
    )
    by_item, by_user = frame.groupby("item_id").label, frame.groupby("user_id").label
    earlier, clicks = by_item.cumcount(), by_item.cumsum() - label
    frame["seen"] = earlier
    frame["item_rate"] = (clicks + 1) / (earlier + 3)
    frame["user_rate"] = (by_user.cumsum() - label + 1) / (by_user.cumcount() + 3)
    later = by_item.transform("count") - earlier - 1
    frame["future_rate"] = (by_item.transform("sum") - clicks - label + 1) / (later + 3)
    frame["user_mean"] = by_user.transform("mean")
    frame["label_seen"] = label + 0.1 * draw.normal(size=rows)
    return frame


def suspect(frame, columns):
    rows = load_rows(frame, columns)
    labels = read_labels(rows)
    split = split_rows(rows["event_timestamp"], labels, EvalConfig())
    arms = (Arm("control", ("noise",)), Arm("treatment", tuple(columns)))
    experiment = Experiment("log", arms, placebo=None)
    return find_suspicions(rows, columns, labels, split, experiment)


@pytest.mark.parametrize("seed", range(6))
def test_honest_columns_are_not_suspected(seed):
    assert suspect(make_log(seed), HONEST) == ()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("label_seen", "alone has an AUC of"),
        ("future_rate", "at each item_id's first test row"),
        ("user_mean", "at each user_id's first test row"),
    ],
)
def test_a_planted_leak_is_named(seed, column, words):
    found = suspect(make_log(seed), [*HONEST, column])
    assert any(repr(column) in one and words in one for one in found)
    assert all(repr(column) in one for one in found)


def test_what_was_fitted_to_the_rankers_training_rows_is_named():
    frame = make_log(0)
    draw = np.random.default_rng(1)
    rows = load_rows(frame, ["noise"])
    split = split_rows(rows["event_timestamp"], read_labels(rows), EvalConfig())
    fitted = frame["noise"].to_numpy().copy()
    fitted[split.train] += 0.5 * frame["label"].to_numpy()[split.train]
    frame["fitted"] = fitted + 0.1 * draw.normal(size=len(frame))
    (found,) = suspect(frame, [*HONEST, "fitted"])
    assert "'fitted'" in found
    assert "was it fitted to their labels?" in found


def test_requests_on_both_sides_of_the_split_are_counted():
    frame = make_log(0)
    frame.loc[[8000, len(frame) - 1], "request_id"] = "shared"
    (found,) = suspect(frame, HONEST)
    assert found == "1 requests have rows both in training and in the test"


def test_categories_and_missing_numbers_are_passed_over():
    frame = make_log(0)
    frame["kind"], frame["nothing"] = "wine", np.nan
    assert suspect(frame, [*HONEST, "kind", "nothing"]) == ()


def test_a_suspected_leak_makes_the_verdict_invalid():
    frame = make_log(0, rows=6000)
    arms = (
        Arm("control", ("item_rate",)),
        Arm("treatment", ("item_rate", "label_seen")),
        Arm("placebo", ("item_rate", "noise")),
    )
    config = EvalConfig(seeds=(0,), max_rounds=20, controls=False)
    found = evaluate(frame, Experiment("log", arms, config))
    verdict = compute_verdict(found)
    assert verdict.outcome is Outcome.INVALID
    assert verdict.sentence.startswith("suspected leak: column 'label_seen' alone has an AUC of")
    assert found.summary()["suspicions"] == list(found.suspicions)
