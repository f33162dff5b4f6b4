"""The history job, and what counts as feedback, against plain loops over the tables."""

from __future__ import annotations

from datetime import timedelta

import pytest
import worlds
from worlds import AS_OF, CONFIG, World, at

from sail_features import columns as c
from sail_features.config import HistoryConfig
from sail_features.errors import MissingTableError
from sail_features.history import HistoryWindow, to_us
from sail_features.schemas import USER_HISTORY, check_table
from sail_features.spark.history import run_history
from sail_features.testing.oracles import Event, naive_history

ITEMS = worlds.items([("tea", at(-1), "green tea"), ("mug", at(-1), "a red mug")])


def with_history(**changes):
    section = HistoryConfig.model_validate({**CONFIG.history.model_dump(), **changes})
    return CONFIG.model_copy(update={"history": section})


def histories(store, as_of=AS_OF):
    """Return each user's events as the table holds them."""
    return {
        row[c.USER_ID]: [
            Event(row[c.USER_ID], *event)
            for event in zip(
                row[c.HISTORY_ITEM_IDS],
                row[c.HISTORY_TIMES],
                row[c.HISTORY_WEIGHTS],
                strict=True,
            )
        ]
        for row in store.read("user_history", as_of).to_pylist()
    }


def true_histories(world, as_of, config):
    """Return what `histories` should be, oldest first, by a loop over all feedback."""
    window = HistoryWindow.from_config(config.history)
    told = worlds.true_feedback(world, config.history)
    found = {
        user: naive_history(user, to_us(as_of), told, window)[::-1]
        for user in {event.user for event in told}
    }
    return {user: events for user, events in found.items() if events}


@pytest.mark.parametrize(("ids", "seed"), [(str, 0), (int, 1)])
def test_histories_are_those_of_a_loop_over_all_feedback(spark, store, ids, seed):
    world = worlds.random_world(seed, ids=ids)
    as_of = at(14)
    world.publish(store, as_of=as_of)
    manifest = run_history(spark, store, CONFIG, as_of=as_of)
    assert histories(store) == true_histories(world, as_of, CONFIG)
    table = store.read("user_history")
    check_table(table, USER_HISTORY, where="history")
    assert set(table[c.EVENT_TIMESTAMP].to_pylist()) == {as_of}
    assert set(table[c.AVAILABLE_AT].to_pylist()) == {as_of}
    again = run_history(spark, store, CONFIG, as_of=as_of)
    assert (again.fingerprint, again.created) == (manifest.fingerprint, manifest.created)


def test_buckets_change_the_files_and_not_the_histories(spark, store):
    world = worlds.random_world(2)
    world.publish(store)
    found = []
    for buckets in (1, 16):
        run_history(spark, store, worlds.with_buckets(buckets), as_of=AS_OF)
        found.append(histories(store))
    assert found[0] == found[1]


def test_event_at_as_of_is_not_seen_and_one_at_the_start_of_the_lookback_is(spark, store):
    start = AS_OF - timedelta(days=CONFIG.history.lookback_days)
    microsecond = timedelta(microseconds=1)
    times = [start - microsecond, start, AS_OF - microsecond, AS_OF]
    World(
        ITEMS, worlds.events([("ann", "tea", time, 1.0) for time in times]),
        worlds.impressions([("ann", "mug", AS_OF, 0)]),
    ).publish(store)  # fmt: skip
    run_history(spark, store, CONFIG, as_of=AS_OF)
    (seen,) = histories(store).values()
    assert [event.time_us for event in seen] == [to_us(time) for time in times[1:3]]


SHOWN = worlds.impressions(
    [
        ("ann", "tea", at(1), 0),
        ("ann", "mug", at(2), 0),
        ("ann", "mug", at(3), 1),
        ("bob", "tea", at(1), 0),
    ]
)
TOLD = worlds.events([("ann", "mug", at(2), 0.0), ("ann", "mug", at(3), 1.0)])


def weights(store):
    return {
        user: [(event.item, event.weight) for event in events]
        for user, events in histories(store).items()
    }


def test_logged_impressions_without_a_click_count_unless_an_event_says_otherwise(spark, store):
    World(ITEMS, TOLD, SHOWN).publish(store)
    run_history(spark, store, with_history(lookback_days=100), as_of=AS_OF)
    assert weights(store) == {
        "ann": [("tea", -0.5), ("mug", 0.0), ("mug", 1.0)],
        "bob": [("tea", -0.5)],
    }


@pytest.mark.parametrize(
    ("negatives", "weight"), [("popularity", -0.5), ("uniform", -0.5), ("logged", None)]
)
def test_sampled_negatives_and_those_left_out_never_enter_histories(
    spark, store, negatives, weight
):
    World(ITEMS, TOLD, SHOWN, negatives).publish(store)
    config = with_history(lookback_days=100, unclicked_weight=weight)
    run_history(spark, store, config, as_of=AS_OF)
    assert weights(store) == {"ann": [("mug", 0.0), ("mug", 1.0)]}


def test_only_the_logged_ones_of_mixed_partitions_count(spark, store):
    worlds.publish(store, "events", TOLD)
    early, late = SHOWN.slice(0, 1), SHOWN.slice(1)
    worlds.publish(store, "impressions", early, as_of=at(1.5))
    worlds.publish(store, "impressions", late, since=at(1.5), negatives="popularity")
    run_history(spark, store, with_history(lookback_days=100), as_of=AS_OF)
    assert weights(store) == {"ann": [("tea", -0.5), ("mug", 0.0), ("mug", 1.0)]}


def test_nothing_imported_names_the_command(spark, store):
    with pytest.raises(MissingTableError, match="sail-features import"):
        run_history(spark, store, CONFIG, as_of=AS_OF)
