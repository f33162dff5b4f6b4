"""The synthetic world: deterministic, of its size, with a planted effect that can be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import soundfile
from PIL import Image
from pydantic import ValidationError

from sail_features.datasets.synthetic import (
    START,
    SyntheticConfig,
    SyntheticWorld,
    build_synthetic,
    build_synthetic_world,
)
from sail_features.datasets.synthetic_topics import SUBTOPICS, TOPICS, WORDS

SMALL = SyntheticConfig(users=300, items=400, days=40, impressions=30_000, seed=1)


@pytest.fixture(scope="module")
def planted() -> SyntheticWorld:
    return build_synthetic_world(SMALL)


@pytest.fixture(scope="module")
def null() -> SyntheticWorld:
    return build_synthetic_world(SMALL.model_copy(update={"content_lift": 0.0}))


def content_effect(world: SyntheticWorld) -> tuple[float, float]:
    """Return the match of clicks beyond what popularity, user and noise explain, and its error."""
    surprise = world.clicks.clicked - world.clicks.probability_without_content
    effect = surprise * (world.clicks.match - world.clicks.match.mean())
    return float(effect.mean()), float(effect.std() / np.sqrt(len(effect)))


def test_same_seed_gives_the_same_tables_and_another_gives_others(planted: SyntheticWorld) -> None:
    assert build_synthetic(SMALL) == planted.dataset
    other = build_synthetic(SMALL.model_copy(update={"seed": 2}))
    assert not other.impressions.equals(planted.dataset.impressions)


def test_sizes_are_those_asked_for(planted: SyntheticWorld) -> None:
    dataset = planted.dataset
    assert dataset.items.num_rows == 400
    assert dataset.impressions.num_rows == 30_000
    assert dataset.dropped == {}
    assert dataset.negatives == "logged"


def test_clicked_items_match_their_user_better_where_content_is_planted(
    planted: SyntheticWorld,
) -> None:
    clicked, match = planted.clicks.clicked, planted.clicks.match
    assert match[clicked].mean() > match[~clicked].mean() + 0.1
    effect, error = content_effect(planted)
    assert effect > 10 * error


def test_match_says_nothing_about_clicks_where_no_content_is_planted(null: SyntheticWorld) -> None:
    effect, error = content_effect(null)
    assert abs(effect) < 3 * error
    np.testing.assert_array_equal(null.clicks.probability, null.clicks.probability_without_content)


def test_worlds_with_and_without_content_differ_in_their_clicks_alone(
    planted: SyntheticWorld, null: SyntheticWorld
) -> None:
    assert planted.dataset.items == null.dataset.items
    shown = ["request_id", "user_id", "item_id", "event_timestamp"]
    assert planted.dataset.impressions.select(shown) == null.dataset.impressions.select(shown)
    assert planted.dataset.impressions != null.dataset.impressions


def test_interests_drift(planted: SyntheticWorld) -> None:
    users = np.arange(300)
    first = planted.users.interests_at(users, np.zeros(300))
    last = planted.users.interests_at(users, np.full(300, 40.0))
    same = np.einsum("uid,uid->ui", first, last)
    assert 0.3 < (same < 0.9).mean() < 0.7, "about half of the interests have moved"
    np.testing.assert_allclose(np.linalg.norm(last, axis=-1), 1)


def test_users_have_several_interests(planted: SyntheticWorld) -> None:
    assert all(len(set(row)) == 3 for row in planted.users.before.tolist())


def test_cold_items_arrive_over_time_and_are_shown_only_after(planted: SyntheticWorld) -> None:
    known = np.asarray(planted.items.arrival_days)
    assert 0.2 < (known > 0).mean() < 0.4
    assert (planted.exposures.days > known[planted.exposures.items]).all()


def test_requests_show_eight_distinct_items_at_one_time(planted: SyntheticWorld) -> None:
    impressions = planted.dataset.impressions
    requests = impressions.group_by("request_id").aggregate(
        [("item_id", "count_distinct"), ("event_timestamp", "count_distinct"), ("item_id", "count")]
    )
    assert pc.all(pc.equal(requests["event_timestamp_count_distinct"], 1)).as_py()
    assert requests["item_id_count_distinct"].equals(requests["item_id_count"])
    assert pc.mode(requests["item_id_count"])[0]["mode"].as_py() == 8


def test_popular_items_are_shown_more(planted: SyntheticWorld) -> None:
    there = planted.items.arrival_days < 0
    shown = np.bincount(planted.exposures.items, minlength=400)
    assert np.corrcoef(shown[there], planted.items.popularity[there])[0, 1] > 0.9


def test_events_are_clicks_after_their_impression_and_some_purchases(
    planted: SyntheticWorld,
) -> None:
    events = planted.dataset.events
    clicks = events.filter(pc.equal(events["event_type"], "click"))
    purchases = events.filter(pc.equal(events["event_type"], "purchase"))
    assert clicks.num_rows == planted.clicks.clicked.sum()
    assert 0.1 < purchases.num_rows / clicks.num_rows < 0.2
    assert set(purchases["weight"].to_pylist()) == {2.0}
    assert pc.min(clicks["event_timestamp"]).as_py() > START


def test_text_is_made_of_the_words_of_the_item_s_two_subtopics(planted: SyntheticWorld) -> None:
    items = planted.items
    for row in range(20):
        title, text = items.texts[row]
        words = {word.strip(":,.").lower() for word in text.split()} - {"and"}
        assert words <= set(WORDS[items.main[row]]) | set(WORDS[items.second[row]])
        assert text.startswith(f"{title}: ")


def test_vocabulary_has_twelve_topics_of_four_subtopics_of_ten_words() -> None:
    assert len(TOPICS) == 12
    assert len(SUBTOPICS) == len(set(SUBTOPICS)) == 48
    assert {len(set(words)) for words in WORDS} == {10}
    assert all(topic == TOPICS[number // 4] for number, (topic, _) in enumerate(SUBTOPICS))


def test_media_tell_topics_apart_and_change_nothing_else(tmp_path: Path) -> None:
    tiny = SyntheticConfig(users=20, items=12, days=5, impressions=400)
    plain = build_synthetic(tiny)
    world = build_synthetic_world(tiny.model_copy(update={"media": tmp_path}))
    assert world.dataset.impressions == plain.impressions
    images = [
        np.asarray(Image.open(path)) for path in world.dataset.items["image_path"].to_pylist()
    ]
    assert images[0].shape == (96, 96, 3)
    corner = {(int(s) // 4, tuple(image[0, 0])) for s, image in zip(world.items.second, images)}  # noqa: B905
    assert len(corner) == len({topic for topic, _ in corner}), "one frame colour a topic"
    samples, rate = soundfile.read(world.dataset.items["audio_path"][0].as_py())
    assert (len(samples), rate) == (16_000, 16_000)
    loudest = np.abs(np.fft.rfft(samples)).argmax()
    assert loudest == round(220 * 2 ** (world.items.main[0] // 4 / 6))


def test_configuration_refuses_what_cannot_be_made() -> None:
    with pytest.raises(ValidationError):
        SyntheticConfig(users=0)
    with pytest.raises(ValidationError):
        SyntheticConfig(content_lift=-1)
