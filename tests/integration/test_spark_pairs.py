"""The pairs job against plain loops over the events."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import timedelta
from itertools import combinations

import pytest
import worlds
from worlds import AS_OF, CONFIG, at

from sail_features import columns as c
from sail_features.config import PairConfig
from sail_features.errors import InputError
from sail_features.schemas import EVENTS, ITEM_PAIR, SEARCH_PAIR, check_table, conform
from sail_features.spark.co_engagement import (
    CO_ENGAGEMENT,
    SESSION,
    mine_searches,
    run_pairs,
)


def with_pairs(**changes):
    section = PairConfig(**{"window_hours": 48, "min_support": 2, **changes})
    return CONFIG.model_copy(update={"pairs": section})


def found_pairs(store, as_of=None):
    rows = store.read("item_pair", as_of).to_pylist()
    return {
        (row[c.PAIR_SOURCE], row[c.ITEM_ID], row[c.OTHER_ITEM_ID]): (
            row[c.SUPPORT],
            round(row[c.STRENGTH], 5),
        )
        for row in rows
    }


def true_pairs(events, until, config):
    """Return the pairs by loops over each user's newest events."""
    seen = [e for e in events if e[c.EVENT_TIMESTAMP] < until and e[c.WEIGHT] > 0]
    by_user = defaultdict(list)
    for event in sorted(seen, key=lambda e: (e[c.EVENT_TIMESTAMP], e[c.ITEM_ID])):
        by_user[event[c.USER_ID]].append(event)
    users, together = defaultdict(set), defaultdict(set)
    for user, own in by_user.items():
        for event in (newest := own[-config.max_events :]):
            users[event[c.ITEM_ID]].add(user)
        for one, other in combinations(newest, 2):
            pair = tuple(sorted((one[c.ITEM_ID], other[c.ITEM_ID])))
            apart = other[c.EVENT_TIMESTAMP] - one[c.EVENT_TIMESTAMP]
            if pair[0] != pair[1] and apart <= timedelta(hours=config.window_hours):
                together[(CO_ENGAGEMENT, *pair)].add(user)
            session = one.get(c.SESSION_ID)
            if pair[0] != pair[1] and session is not None and session == other[c.SESSION_ID]:
                together[(SESSION, *pair)].add(user)
    return {
        pair: (len(own), round(len(own) / math.sqrt(len(users[pair[1]]) * len(users[pair[2]])), 5))
        for pair, own in together.items()
        if len(own) >= config.min_support
    }


@pytest.mark.parametrize(("ids", "max_events"), [(str, 200), (int, 20)])
def test_pairs_are_those_of_a_loop_over_all_events(spark, store, ids, max_events):
    world = worlds.random_world(3, ids=ids, shown=400)
    world.publish(store)
    config, until = with_pairs(max_events=max_events), at(15)
    manifest = run_pairs(spark, store, config, as_of=AS_OF)
    expected = true_pairs(world.events.to_pylist(), AS_OF, config.pairs)
    assert len(expected) > 5
    assert found_pairs(store) == expected
    table = store.read("item_pair")
    check_table(table, ITEM_PAIR, where="pairs")
    assert set(table[c.AVAILABLE_AT].to_pylist()) == {AS_OF}
    assert manifest.lineage["trained_until"] == AS_OF.isoformat()
    again = run_pairs(spark, store, config, as_of=AS_OF)
    assert (again.fingerprint, again.created) == (manifest.fingerprint, manifest.created)
    run_pairs(spark, store, config, as_of=AS_OF, trained_until=until)
    assert found_pairs(store, until) == true_pairs(world.events.to_pylist(), until, config.pairs)


BOUGHT = [
    *((user, item, at(1), 1.0) for user in ("u", "v", "w") for item in ("a", "b", "c")),
    *((user, "d", at(2, 1), 1.0) for user in ("u", "v", "w")),
    ("u", "a", at(9), 1.0),
]
SESSIONS = ["s1", "s1", "s2"] * 3 + ["s2"] * 3 + [None]


def publish_bought(store, **columns):
    table = worlds.events(BOUGHT)
    for name, values in columns.items():
        table = table.append_column(name, [values])
    worlds.publish(store, "events", conform(table, EVENTS))


def test_sessions_are_a_source_of_their_own_and_the_window_has_an_end(spark, store):
    publish_bought(store, session_id=SESSIONS)
    run_pairs(spark, store, with_pairs(window_hours=24, min_support=3), as_of=AS_OF)
    pairs = {source: set() for source in (CO_ENGAGEMENT, SESSION)}
    for source, one, other in found_pairs(store):
        pairs[source].add(one + other)
    assert pairs == {CO_ENGAGEMENT: {"ab", "ac", "bc"}, SESSION: {"ab", "cd"}}


def test_only_the_strongest_partners_of_either_item_are_kept(spark, store):
    publish_bought(store)
    run_pairs(spark, store, with_pairs(max_partners=1, min_support=3), as_of=AS_OF)
    kept = {one + other for _, one, other in found_pairs(store)}
    assert kept == {"ab", "ac", "ad"}


def test_searches_are_a_table_of_their_own(spark, store):
    publish_bought(store, search_query=["Cup", "cup ", None] * 4 + ["cup"])
    run_pairs(spark, store, with_pairs(min_support=3), as_of=AS_OF)
    table = store.read("search_pair")
    check_table(table, SEARCH_PAIR, where="pairs")
    found = zip(*(table[name].to_pylist() for name in SEARCH_PAIR.key), strict=True)
    assert sorted(found) == [("cup", "a"), ("cup", "b")]
    assert table[c.SUPPORT].to_pylist() == [3, 3]
    assert set(table[c.AVAILABLE_AT].to_pylist()) == {AS_OF}


def test_searches_lead_to_what_users_took_after_them(spark):
    rows = [
        (user, item, at(1).replace(tzinfo=None), 1.0, query)
        for user, item, query in (
            ("u", "a", " Red Mug"),
            ("v", "a", "red mug"),
            ("v", "b", "red mug"),
            ("w", "a", None),
            ("w", "b", " "),
        )
    ]
    names = [c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.WEIGHT, c.SEARCH_QUERY]
    events = spark.createDataFrame(rows, names)
    config = PairConfig(min_support=2)
    found = [row.asDict() for row in mine_searches(events, config, trained_until=AS_OF).collect()]
    assert found == [{c.SEARCH_QUERY: "red mug", c.ITEM_ID: "a", c.SUPPORT: 2}]
    assert not mine_searches(events, config, trained_until=at(1)).count()
    with pytest.raises(InputError, match="search_query"):
        mine_searches(events.drop(c.SEARCH_QUERY), config, trained_until=AS_OF)


def test_no_pair_with_the_support_asked_for_is_an_error(spark, store):
    publish_bought(store)
    with pytest.raises(InputError, match="no two items share 4 users within 48 hours"):
        run_pairs(spark, store, with_pairs(min_support=4), as_of=AS_OF)
