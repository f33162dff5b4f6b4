"""Sequences and the rules that choose them, against loops and worlds small enough to see."""

from __future__ import annotations

import numpy as np
import pytest
import worlds
from scipy.sparse import csr_array
from worlds import at

from sail_features.training.engagements import select_engagements
from sail_features.training.sequence_rules import (
    select_by_content,
    select_by_labels,
    select_consistent,
    select_spread,
    share_places,
)
from sail_features.training.sequences import ABSENT, LENGTH, Past, build_sequences

ITEMS = np.array([f"i{number:02d}" for number in range(30)])


def engagements(rows):
    log = worlds.events([(user, ITEMS[item], time, 1.0) for user, item, time in rows])
    return select_engagements(log, ITEMS, trained_until=at(30))


def whole_past(past, rng):
    return np.arange(len(past.item))[-LENGTH:]


def past_of(items, target=29, behaviours=None, kinds=None, target_kinds=1):
    count = len(items)
    return Past(
        np.array(items),
        np.array(behaviours or [1] * count),
        np.array(kinds or [1] * count),
        target,
        target_kinds,
    )


RNG = np.random.default_rng(0)


def test_a_query_is_the_past_strictly_before_its_target_in_the_order_of_time():
    log = engagements([("u", item, at(item)) for item in (3, 1, 2, 4)])
    found = build_sequences(log, whole_past, seed=0, targets_per_user=1)
    assert found.target.tolist() == [4]
    assert found.query.tolist() == [[1, 2, 3] + [ABSENT] * 7]


def test_the_rest_of_the_targets_basket_is_not_in_its_query():
    log = engagements(
        [("u", item, at(item)) for item in (1, 2, 3)] + [("u", 8, at(9)), ("u", 9, at(9))]
    )
    found = build_sequences(log, whole_past, seed=0, targets_per_user=2)
    assert found.target.tolist() == [9, 8]
    assert found.query[:, :4].tolist() == [[1, 2, 3, ABSENT]] * 2


def test_a_repeated_engagement_is_no_target_and_counts_once_in_a_query():
    log = engagements(
        [
            ("u", 1, at(1)),
            ("u", 2, at(2)),
            ("u", 3, at(3)),
            ("u", 1, at(4)),
            ("u", 5, at(5)),
            ("u", 2, at(6)),
        ]
    )
    found = build_sequences(log, whole_past, seed=0, targets_per_user=9)
    assert found.target.tolist() == [5]
    assert found.query[0, :4].tolist() == [2, 3, 1, ABSENT]


def test_sequences_are_those_of_a_loop_over_all_events():
    rng = np.random.default_rng(1)
    rows = [
        (f"u{user}", int(rng.integers(30)), at(float(rng.integers(20))))
        for user in rng.integers(8, size=200)
    ]
    log = engagements(rows)
    found = build_sequences(log, whole_past, seed=0, targets_per_user=10**6)
    expected = set()
    for user in {row[0] for row in rows}:
        mine = [row for row in rows if row[0] == user]
        for item in {row[1] for row in mine}:
            moment = min(time for _, other, time in mine if other == item)
            before = sorted((row for row in mine if row[2] < moment), key=lambda row: row[2])
            last = {other: time for _, other, time in before}
            past = sorted(last, key=lambda other: (last[other], other))[-LENGTH:]
            if len(past) >= 3:
                expected.add((user, item, tuple(past)))
    got = {
        (f"u{user}", target, tuple(x for x in query if x != ABSENT))
        for user, target, query in zip(found.user, found.target, found.query.tolist(), strict=True)
    }
    assert len(got) == len(found) == len(expected)
    assert got == expected


def test_the_content_rule_takes_the_items_most_like_the_target():
    angle = np.linspace(0, np.pi, 30)
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    chosen = select_by_content(vectors, behaviours=1)(past_of(range(20)), RNG)
    assert chosen.tolist() == list(range(10, 20))
    compact = past_of(range(20), behaviours=[3, 1] * 10)
    assert select_by_content(vectors)(compact, RNG).tolist() == list(range(0, 20, 2))


def test_the_label_rule_takes_items_whose_labels_are_half_the_targets_or_more():
    labels = np.zeros((30, 4), int)
    labels[29] = [1, 1, 0, 0]
    labels[0], labels[1], labels[2], labels[3] = (
        [1, 1, 0, 0],
        [1, 0, 0, 0],
        [1, 0, 1, 0],
        [0, 0, 1, 1],
    )
    chosen = select_by_labels(csr_array(labels))(past_of([0, 1, 2, 3, 4]), RNG)
    assert chosen.tolist() == [0, 1]


def test_the_consistent_rule_wants_the_targets_behaviour_and_the_pasts_clusters():
    clusters = np.array([0] * 20 + [1] * 10)
    past = past_of(range(25), behaviours=[3] * 25, kinds=[1] * 20 + [2] * 3 + [1] * 2)
    chosen = select_consistent(clusters)(past, RNG)
    assert chosen.tolist() == [*range(12, 20), 23, 24]
    assert not len(select_consistent(clusters)(past_of(range(25)), RNG))


def test_the_spread_rule_draws_in_proportion_to_the_pasts_clusters():
    clusters = np.array([0] * 12 + [1] * 6 + [-1] * 12)
    chosen = select_spread(clusters)(past_of([*range(18), 18, 19]), RNG)
    assert np.bincount(clusters[chosen] + 1).tolist() == [1, 6, 3]


@pytest.mark.parametrize("seed", range(20))
def test_places_are_shared_out_whole_and_never_beyond_what_is_there(seed):
    rng = np.random.default_rng(seed)
    wanted = rng.integers(6, size=rng.integers(1, 40))
    there = wanted[rng.random(len(wanted)) < 0.5]
    shared = share_places(wanted, there)
    assert sum(shared.values()) == min(LENGTH, len(there))
    for cluster, places in shared.items():
        assert 0 <= places <= (there == cluster).sum()
        if len(there) == len(wanted) and len(wanted) >= LENGTH:
            assert abs(places - LENGTH * (wanted == cluster).mean()) < 1
