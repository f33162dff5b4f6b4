"""The sampler of negatives: what it may draw, and that it never leaks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from sail_features.datasets.impressions import first_likes
from sail_features.datasets.live_catalogue import LiveCatalogue
from sail_features.datasets.negatives import add_sampled_negatives, sample_negatives
from sail_features.errors import ConfigError
from sail_features.schemas import TIMESTAMP

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

Row = tuple[str, str, float]
"""User, item, and days since the start."""


def some_events(*rows: Row) -> pa.Table:
    users, items, days = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": users,
            "item_id": items,
            "event_timestamp": pa.array([START + day * DAY for day in days], TIMESTAMP),
            "event_type": ["click"] * len(rows),
            "weight": [1.0] * len(rows),
        }
    )


def some_items(*ids: str) -> pa.Table:
    return pa.table({"item_id": ids})


def draw(positive: Row, events: pa.Table, items: pa.Table, *, count: int = 40) -> set[str]:
    positives = first_likes(some_events(positive))
    drawn = sample_negatives(positives, events, items, per_positive=count, seed=3)
    return set(drawn["item_id"].to_pylist())


def test_items_met_before_or_with_the_positive_are_never_drawn() -> None:
    events = some_events(
        ("u", "before", 0), ("u", "with", 5), ("v", "with", 1), ("v", "other", 1), ("u", "it", 5)
    )
    items = some_items("before", "with", "other", "it")
    assert draw(("u", "it", 5), events, items) == {"other"}


def test_items_met_later_may_be_drawn() -> None:
    events = some_events(("v", "later", 1), ("u", "it", 5), ("u", "later", 5.5))
    assert draw(("u", "it", 5), events, some_items("later", "it")) == {"later"}


def test_only_items_with_an_event_in_the_thirty_days_before_are_live() -> None:
    events = some_events(
        ("v", "too old", 9.9), ("v", "just", 10), ("v", "at", 40), ("v", "after", 41)
    )
    items = some_items("too old", "just", "at", "after", "it")
    assert draw(("u", "it", 40), events, items) == {"just"}


def test_an_item_that_is_known_only_later_is_not_drawn() -> None:
    events = some_events(("v", "old", 1))
    items = some_items("old", "it")
    known = pa.array([START + 9 * DAY, START], TIMESTAMP)
    stated = items.append_column("event_timestamp", known)
    assert draw(("u", "it", 5), events, stated) == {"old"}, "its own first event shows it"
    catalogue = LiveCatalogue(np.array([0]), np.array([10]), known_from=np.array([20]))
    assert catalogue.contains(np.array([0, 0]), np.array([20, 21])).tolist() == [False, True]


def test_no_item_is_drawn_twice_in_a_request() -> None:
    events = some_events(
        *[("v", f"i{n}", 1 + n / 10) for n in range(9)], ("u", "x", 5), ("u", "y", 5)
    )
    items = some_items(*[f"i{n}" for n in range(9)], "x", "y")
    positives = first_likes(some_events(("u", "x", 5), ("u", "y", 5)))
    assert len(set(positives["request_id"].to_pylist())) == 1
    drawn = sample_negatives(positives, events, items, per_positive=4, seed=0)
    assert len(set(drawn["item_id"].to_pylist())) == drawn.num_rows == 8


def test_negatives_that_cannot_be_found_are_counted() -> None:
    events = some_events(("v", "a", 1), ("u", "it", 5))
    positives = first_likes(some_events(("u", "it", 5)))
    both, missed = add_sampled_negatives(
        positives, events, some_items("a", "it"), per_positive=3, seed=0
    )
    assert both["label"].to_pylist() == [1, 0]
    assert both["negative_source"][0].as_py() == "logged"
    assert missed == {"negative_not_found": 2}


def test_half_are_drawn_by_popularity_and_half_uniformly() -> None:
    rows = [("v", "hit", n / 100) for n in range(900)]
    rows += [("v", f"rare{n}", 9 + n / 1000) for n in range(100)]
    events = some_events(*rows)
    items = some_items("hit", *[f"rare{n}" for n in range(100)], "it")
    positives = first_likes(some_events(*[(f"u{n}", "it", 20) for n in range(2000)]))
    drawn = sample_negatives(positives, events, items, per_positive=2, seed=0)
    share = {
        source: np.mean([row["item_id"] == "hit" for row in drawn.to_pylist()
                         if row["negative_source"] == source])
        for source in ("popularity", "uniform")
    }  # fmt: skip
    assert share["popularity"] == pytest.approx(9 / 10, abs=0.03)
    assert share["uniform"] == pytest.approx(1 / 101, abs=0.01)


def test_negatives_carry_their_positive_s_request_user_and_time() -> None:
    events = some_events(("v", "a", 1), ("v", "b", 1), ("u", "it", 5))
    positives = first_likes(some_events(("u", "it", 5)))
    drawn = sample_negatives(positives, events, some_items("a", "b", "it"), per_positive=2, seed=0)
    for name in ("request_id", "user_id", "event_timestamp"):
        assert set(drawn[name].to_pylist()) == set(positives[name].to_pylist())
    assert set(drawn["label"].to_pylist()) == {0}


def random_log(rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    rows = [
        (f"u{rng.integers(20)}", f"i{rng.integers(30)}", float(day))
        for day in np.sort(rng.random(400) * 90)
    ]
    return some_events(*rows), some_items(*[f"i{n}" for n in range(30)])


def test_draws_agree_with_a_naive_reading_of_the_rules() -> None:
    events, items = random_log(np.random.default_rng(0))
    log = events.to_pylist()
    positives = first_likes(events)
    drawn = sample_negatives(positives, events, items, per_positive=2, seed=0)
    assert drawn.num_rows > positives.num_rows
    for row in drawn.to_pylist():
        user, item, at = row["user_id"], row["item_id"], row["event_timestamp"]
        uses = [event["event_timestamp"] for event in log if event["item_id"] == item]
        assert any(at - 30 * DAY <= use < at for use in uses)
        assert not any(
            event["user_id"] == user and event["item_id"] == item
            and event["event_timestamp"] <= at
            for event in log
        )  # fmt: skip


def test_same_seed_same_negatives_other_seed_others() -> None:
    events, items = random_log(np.random.default_rng(1))
    positives = first_likes(events)
    first, again, other = (
        sample_negatives(positives, events, items, per_positive=2, seed=seed) for seed in (5, 5, 6)
    )
    assert first.equals(again)
    assert not first.equals(other)


def test_zero_negatives_is_a_configuration_error() -> None:
    events = some_events(("u", "it", 5))
    with pytest.raises(ConfigError, match="ask for 1 or more"):
        sample_negatives(first_likes(events), events, some_items("it"), per_positive=0, seed=0)


def test_first_likes_are_each_user_s_first_event_of_weight_above_zero_on_an_item() -> None:
    events = some_events(("u", "a", 3), ("u", "a", 1), ("u", "a", 2), ("v", "a", 9), ("u", "b", 4))
    events = events.set_column(4, "weight", pa.array([1.0, 0.0, 1.0, -1.0, 0.5]))
    likes = first_likes(events)
    found = [(row["user_id"], row["item_id"], row["event_timestamp"]) for row in likes.to_pylist()]
    assert found == [("u", "a", START + 2 * DAY), ("u", "b", START + 4 * DAY)]
