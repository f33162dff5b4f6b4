"""Histograms over global clusters, row by row against a loop, and days against one run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features import columns as c
from sail_features.config import ClusterConfig, InterestConfig
from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.history import US_PER_DAY
from sail_features.interests.changes import ALWAYS_US, SnapshotTimes, find_changed_vectors
from sail_features.interests.cluster_frame import (
    ClusteredItems,
    compute_cluster_table,
    iter_cluster_tables,
)
from sail_features.interests.global_clusters import fit_global_clusters
from sail_features.schemas import TIMESTAMP

CONFIG = InterestConfig(
    lookback_days=6,
    half_life_days=2,
    clusters=ClusterConfig(primary=3, secondary=6, max_events=9, tail_share=0.4, min_tail_count=2),
)
HALF_DAYS = SnapshotTimes(15 * US_PER_DAY, US_PER_DAY // 2)
FITTED_US = 3 * US_PER_DAY
LISTS = (
    c.PRIMARY_CLUSTERS, c.PRIMARY_COUNTS, c.PRIMARY_WEIGHTS, c.PRIMARY_TIMES,
    c.SECONDARY_CLUSTERS, c.SECONDARY_COUNTS, c.SECONDARY_WEIGHTS, c.SECONDARY_TIMES,
    c.LONG_TAIL_CLUSTERS,
)  # fmt: skip


class Like(NamedTuple):
    user: Any
    item: int
    time_us: int


def catalogue(known_from: int = 0) -> ClusteredItems:
    """Return the items with even numbers, of which the first ones are liked the least."""
    vectors = normalise(np.random.default_rng(0).standard_normal((20, 4)))
    table = EmbeddingTable(2 * np.arange(20), vectors, "hash", np.full(20, known_from))
    clusters = fit_global_clusters(
        table, np.arange(20), CONFIG.clusters, trained_until_us=FITTED_US
    )
    return ClusteredItems.assign(table, clusters)


ITEMS = catalogue()


def random_likes(seed: int, ids: type = str) -> list[Like]:
    """Return likes at whole hours: ties, repeats, users that look alike, items not encoded."""
    rng = np.random.default_rng(seed)
    return [
        Like(
            ids(rng.choice([1, 11, 2])),
            int(rng.integers(42)),
            int(rng.integers(0, 15 * 24)) * US_PER_DAY // 24,
        )
        for _ in range(120)
    ]


def table_of(likes: list[Like], ids: type = str) -> pa.Table:
    users, items, times = zip(*likes, strict=True) if likes else ([], [], [])
    return pa.table(
        {
            c.USER_ID: pa.array(users, pa.string() if ids is str else pa.int64()),
            c.ITEM_ID: pa.array(items, pa.int64()),
            c.EVENT_TIMESTAMP: pa.array(times, pa.int64()).cast(TIMESTAMP),
        }
    )


def count(likes, times, items=ITEMS, changed=None, ids=str) -> list[dict[str, Any]]:
    tables = iter_cluster_tables(table_of(likes, ids), items, times, CONFIG, changed)
    found = pa.concat_tables(tables)
    times_us = found[c.EVENT_TIMESTAMP].cast(pa.int64()).to_pylist()
    return [row | {"at": at} for row, at in zip(found.to_pylist(), times_us, strict=True)]


def state_of(rows: list[dict[str, Any]], moment: int) -> dict[Any, list[Any]]:
    """Return what holds of each user at a moment, users with nothing left out."""
    held = {row[c.USER_ID]: row for row in rows if row["at"] <= moment}
    return {
        user: [row[name] for name in LISTS]
        for user, row in held.items()
        if row[c.SECONDARY_CLUSTERS]
    }


def naive_state(likes: list[Like], moment: int) -> dict[Any, list[Any]]:
    """Return what `state_of` should be, by counting one like after the other."""
    secondary = dict(zip(ITEMS.vectors.ids.tolist(), ITEMS.secondary.tolist(), strict=True))
    state = {}
    for user in {like.user for like in likes}:
        seen = sorted(
            (like.time_us, like.item) for like in likes
            if like.user == user and like.item in secondary
            and moment - 6 * US_PER_DAY <= like.time_us < moment
        )[-9:]  # fmt: skip
        lists: list[Any] = []
        for parent in (ITEMS.clusters.parent.tolist(), list(range(6))):
            entries: dict[int, list[Any]] = {}
            for time, item in seen:
                entry = entries.setdefault(parent[secondary[item]], [0, 0.0, 0])
                recency = 0.5 ** ((seen[-1][0] - time) / US_PER_DAY / 2)
                entry[:] = [entry[0] + 1, entry[1] + recency, time]
            total = sum(entry[1] for entry in entries.values())
            ordered = sorted(entries.items())
            lists += [
                [cluster for cluster, _ in ordered],
                [entry[0] for _, entry in ordered],
                pytest.approx([entry[1] / total for _, entry in ordered], rel=1e-5),
                [entry[2] for _, entry in ordered],
            ]
        lists.append(
            [n for n, times in zip(lists[4], lists[5], strict=True)
             if ITEMS.clusters.tail[n] and times >= 2]
        )  # fmt: skip
        if seen:
            state[user] = lists
    return state


@pytest.mark.parametrize("ids", [str, int])
@given(seed=st.integers(0, 10_000))
def test_rows_are_those_of_a_loop_over_all_likes(ids, seed):
    likes = random_likes(seed, ids)
    rows = count(likes, HALF_DAYS, ids=ids)
    assert any(row[c.LONG_TAIL_CLUSTERS] for row in rows)
    for day in (2, 5.5, 9, 15):
        moment = int(day * US_PER_DAY)
        assert state_of(rows, moment) == naive_state(likes, moment)


@given(seed=st.integers(0, 10_000))
def test_days_one_after_the_other_are_one_run_to_the_bit(seed):
    likes = random_likes(seed)
    ends = [6 * US_PER_DAY, 7 * US_PER_DAY, 12 * US_PER_DAY]
    chain, since, before = [], None, None
    for place, end in enumerate(ends):
        # The catalogue grows from night to night.
        had = np.arange(20) < 8 + 6 * place
        known = EmbeddingTable(
            ITEMS.vectors.ids[had], ITEMS.vectors.vectors[had], "hash", np.zeros(had.sum(), int)
        )
        changed = None if before is None else find_changed_vectors(before, known)
        items = ClusteredItems.assign(known, ITEMS.clusters)
        chain += count(likes, SnapshotTimes(end, ALWAYS_US, since), items, changed)
        since, before = end, known
    whole = count(likes, SnapshotTimes(ends[-1]), items)
    assert state_of(chain, ends[-1]) == state_of(whole, ends[-1])
    assert state_of(whole, ends[-1])


@given(seed=st.integers(0, 10_000))
def test_no_like_at_or_after_a_moment_reaches_it(seed):
    likes, moment = random_likes(seed), 8 * US_PER_DAY
    honest = [row for row in count(likes, HALF_DAYS) if row["at"] <= moment]
    poison = [Like(user, 2, moment) for user in ("1", "11", "2")]
    changed = [like._replace(item=6) if like.time_us >= moment else like for like in likes]
    poisoned = [row for row in count(changed + poison, HALF_DAYS) if row["at"] <= moment]
    assert repr(poisoned) == repr(honest)


def test_row_is_known_when_its_moment_clusters_and_vectors_are():
    like, early, late = [Like("1", 2, 0)], SnapshotTimes(US_PER_DAY), SnapshotTimes(5 * US_PER_DAY)
    known = [
        count(like, early)[0],
        count(like, late)[0],
        count(like, late, catalogue(known_from=7 * US_PER_DAY // 3))[0],
    ]
    assert [row[c.AVAILABLE_AT].day for row in known] == [4, 6, 6]
    vectors = EmbeddingTable(
        ITEMS.vectors.ids, ITEMS.vectors.vectors, "hash", np.full(20, 8 * US_PER_DAY)
    )
    items = ClusteredItems.assign(vectors, ITEMS.clusters)
    assert count(like, late, items)[0][c.AVAILABLE_AT].day == 9


def test_empty_window_is_a_row_of_empty_lists_once():
    rows = count([Like("1", 2, 0)], SnapshotTimes(15 * US_PER_DAY, US_PER_DAY))
    assert [row["at"] // US_PER_DAY for row in rows] == [1, 7]
    assert [rows[1][name] for name in LISTS] == [[]] * len(LISTS)


def test_batches_and_order_change_nothing(monkeypatch):
    likes = random_likes(7)
    expected = repr(count(likes, HALF_DAYS))
    monkeypatch.setattr("sail_features.interests.cluster_frame.SNAPSHOTS_A_BATCH", 3)
    shuffled = [likes[at] for at in np.random.default_rng(0).permutation(len(likes))]
    assert repr(count(shuffled, HALF_DAYS)) == expected


@pytest.mark.parametrize(
    "likes",
    [[], [Like("1", 3, 0)], [Like("1", 2, 5 * US_PER_DAY)]],
    ids=["no likes", "no vector", "nothing yet"],
)
def test_without_a_seen_like_there_is_no_row_but_all_columns(likes):
    found = compute_cluster_table(table_of(likes), ITEMS, SnapshotTimes(5 * US_PER_DAY), CONFIG)
    assert found.num_rows == 0
    assert set(LISTS) < set(found.column_names)
    assert found.schema.field(c.SECONDARY_TIMES).type == pa.list_(pa.int64())
