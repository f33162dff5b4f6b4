"""Mined snapshots against a loop over all events, and days against one run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import numba
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from sail_features import columns as c
from sail_features.config import HistoryConfig, InterestConfig
from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.history import US_PER_DAY, codes_of, ids_of
from sail_features.interests import mining
from sail_features.interests.changes import ALWAYS_US, SnapshotTimes, find_changed_vectors
from sail_features.interests.frame import compute_interest_table, iter_interest_tables
from sail_features.interests.snapshots import build_snapshots
from sail_features.schemas import TIMESTAMP

DIM = 8
CONFIG = InterestConfig(lookback_days=9, max_events=5, max_interests=2, half_life_days=4)
HISTORY = HistoryConfig(lookback_days=6, max_events=7)
LISTS = (
    c.INTEREST_WEIGHTS, c.INTEREST_MEDOIDS, c.INTEREST_SIZES, c.INTEREST_TIMES, c.INTEREST_FEEDBACK,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Mine small worlds in one thread: waking a second one takes longer than they do."""
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(threads)


class Event(NamedTuple):
    user: str
    item: int
    time_us: int
    weight: float


def catalogue(seed: int = 0, items: int = 20, known_from: int = 0) -> EmbeddingTable:
    """Return vectors of the items with even numbers."""
    vectors = normalise(np.random.default_rng(seed).standard_normal((items, DIM)))
    return EmbeddingTable(
        2 * np.arange(items), vectors.astype(np.float16), "hash", np.full(items, known_from)
    )


def random_events(seed: int, count: int = 120) -> list[Event]:
    """Return feedback at whole hours: ties in time, repeated items, some without a vector."""
    rng = np.random.default_rng(seed)
    return [
        Event(
            f"u{rng.integers(4)}",
            int(rng.integers(42)),
            int(rng.integers(0, 15 * 24)) * US_PER_DAY // 24,
            float(rng.choice([-0.5, 0.0, 0.5, 1.0])),
        )
        for _ in range(count)
    ]


def table_of(events: list[Event]) -> pa.Table:
    users, items, times, weights = zip(*events, strict=True) if events else ([], [], [], [])
    return pa.table(
        {
            c.USER_ID: pa.array(users, pa.string()),
            c.ITEM_ID: pa.array(items, pa.int64()),
            c.EVENT_TIMESTAMP: pa.array(times, pa.int64()).cast(TIMESTAMP),
            c.WEIGHT: pa.array(weights, pa.float32()),
        }
    )


def mine(events, vectors, times, config=CONFIG, changed=None) -> list[dict[str, Any]]:
    """Return the rows that are mined, with vectors as arrays."""
    found = pa.concat_tables(
        iter_interest_tables(table_of(events), vectors, times, config, HISTORY, changed)
    )
    times_us = found[c.EVENT_TIMESTAMP].cast(pa.int64()).to_pylist()
    return [row | {"at": at} for row, at in zip(found.to_pylist(), times_us, strict=True)]


def state_of(rows: list[dict[str, Any]], moment: int) -> dict[str, str]:
    """Return what holds of each user at a moment; availability aside."""
    held = {row[c.USER_ID]: row for row in rows if row["at"] <= moment}
    return {
        user: repr([row[name] for name in (*LISTS, c.INTEREST_VECTORS)])
        for user, row in sorted(held.items())
        if row[c.INTEREST_SIZES]
    }


def naive_snapshot(events, user, moment, vectors, config=CONFIG):
    """Return {(medoid, size, newest, share, feedback)} of one user, by scipy and loops."""
    vector_of = dict(zip(vectors.ids.tolist(), vectors.vectors.astype(np.float64), strict=True))
    own = sorted(
        (e.time_us, e.item, e.weight) for e in events
        if e.user == user and e.time_us < moment and e.item in vector_of
    )  # fmt: skip
    reach = moment - config.lookback_days * US_PER_DAY
    liked = [e for e in own if e[2] > 0 and e[0] >= reach][-config.max_events :]
    reach = moment - HISTORY.lookback_days * US_PER_DAY
    history = [e for e in own if e[0] >= reach][-HISTORY.max_events :]
    if not liked:
        return set()
    points = np.array([vector_of[item] for _, item, _ in liked])
    labels = np.ones(1, int)
    if len(liked) > 1:
        tree = linkage(points, "ward")
        few, equal = fcluster(tree, config.max_interests, "maxclust"), fcluster(tree, 0, "distance")
        labels = few if few.max() <= equal.max() else equal
    recency = [
        0.5 ** ((liked[-1][0] - time) / US_PER_DAY / config.half_life_days) for time, _, _ in liked
    ]
    members = [np.flatnonzero(labels == label) for label in sorted(set(labels))]
    centres = [sum(recency[at] * points[at] for at in mine) for mine in members]
    centres = [centre / np.linalg.norm(centre) for centre in centres]
    answers = [[] for _ in members]
    for _, item, weight in history:
        answers[int(np.argmax([centre @ vector_of[item] for centre in centres]))].append(weight)
    found = set()
    for mine, answer in zip(members, answers, strict=True):
        spread = [((points[mine] - points[at]) ** 2).sum(axis=1).mean() for at in mine]
        nearest = min(spread) + 1e-5
        medoid = max(at for at, far in zip(mine, spread, strict=True) if far <= nearest)
        share = sum(recency[at] for at in mine) / sum(recency)
        feedback = round(float(np.mean(answer)), 3) if answer else None
        found.add((liked[medoid][1], len(mine), liked[mine[-1]][0], round(share, 3), feedback))
    return found


def found_snapshot(row):
    columns = (row[name] for name in LISTS)
    return {
        (medoid, size, newest, round(share, 3), None if np.isnan(answer) else round(answer, 3))
        for share, medoid, size, newest, answer in zip(*columns, strict=True)
    }


HOURS = SnapshotTimes(16 * US_PER_DAY, US_PER_DAY // 24)


@given(seed=st.integers(0, 10_000))
def test_snapshots_are_those_of_a_loop_over_all_events(seed):
    events, vectors = random_events(seed), catalogue(seed)
    rows = mine(events, vectors, SnapshotTimes(16 * US_PER_DAY, 2 * US_PER_DAY))
    moments = range(2 * US_PER_DAY, 17 * US_PER_DAY, 2 * US_PER_DAY)
    for user in {event.user for event in events}:
        for moment in moments:
            held = [row for row in rows if row[c.USER_ID] == user and row["at"] <= moment]
            found = found_snapshot(held[-1]) if held else set()
            assert found == naive_snapshot(events, user, moment, vectors)


@given(seed=st.integers(0, 10_000), days=st.sets(st.integers(1, 15), min_size=1, max_size=4))
@pytest.mark.parametrize("algorithm", ["ward", "kmeans", "leader"])
def test_days_one_after_the_other_are_one_run_to_the_bit(seed, days, algorithm):
    config = CONFIG.model_copy(update={"algorithm": algorithm})
    events, vectors = random_events(seed), catalogue()
    ends = [day * US_PER_DAY for day in sorted(days)]
    chain, since = [], None
    for end in ends:
        known = [event for event in events if event.time_us < end]
        chain += mine(known, vectors, SnapshotTimes(end, ALWAYS_US, since), config)
        since = end
        whole = mine(known, vectors, SnapshotTimes(end), config)
        assert state_of(chain, end) == state_of(whole, end)


@given(seed=st.integers(0, 10_000))
def test_vectors_that_came_or_changed_change_their_users(seed):
    rng = np.random.default_rng(seed)
    events, now = random_events(seed), catalogue(seed)
    kept = np.sort(rng.permutation(20)[:15])
    older = now.vectors[kept].copy()
    older[:3] = catalogue(seed + 1).vectors[:3]
    before = EmbeddingTable(now.ids[kept], older, "hash", now.available_at_us[kept])
    yesterday, today = 9 * US_PER_DAY, 10 * US_PER_DAY
    chain = mine(events, before, SnapshotTimes(yesterday))
    changed = find_changed_vectors(before, now)
    assert changed.sum() == 8
    chain += mine(events, now, SnapshotTimes(today, ALWAYS_US, yesterday), changed=changed)
    whole = mine(events, now, SnapshotTimes(today))
    assert state_of(chain, today) == state_of(whole, today)


@given(seed=st.integers(0, 10_000))
def test_no_event_at_or_after_a_snapshot_reaches_it(seed):
    events, vectors = random_events(seed), catalogue()
    moment = 8 * US_PER_DAY
    honest = [row for row in mine(events, vectors, HOURS) if row["at"] <= moment]
    poison = [Event(f"u{user}", 2 * user, moment, 1.0) for user in range(5)]
    changed = [e._replace(weight=1.0, item=6) if e.time_us >= moment else e for e in events]
    poisoned = [row for row in mine(changed + poison, vectors, HOURS) if row["at"] <= moment]
    assert repr(poisoned) == repr(honest)


def test_blocks_batches_threads_and_order_change_nothing(monkeypatch):
    events, vectors = random_events(7, 400), catalogue()
    expected = repr(mine(events, vectors, HOURS))
    monkeypatch.setattr(mining, "EVENTS_A_BLOCK", 16)
    monkeypatch.setattr("sail_features.interests.frame.SNAPSHOTS_A_BATCH", 5)
    shuffled = [events[at] for at in np.random.default_rng(0).permutation(len(events))]
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert repr(mine(shuffled, vectors, HOURS)) == expected


def test_row_is_written_only_where_something_changed():
    likes = [Event("ann", 2, 3 * US_PER_DAY, 1.0), Event("bob", 4, 3 * US_PER_DAY, -1.0)]
    rows = mine(likes, catalogue(), SnapshotTimes(30 * US_PER_DAY, US_PER_DAY))
    # Ann's like comes in, leaves the history after 6 days and the likes after 9.
    assert [(row[c.USER_ID], row["at"] // US_PER_DAY) for row in rows] == [
        ("ann", 4), ("ann", 10), ("ann", 13),
    ]  # fmt: skip
    assert [len(row[c.INTEREST_SIZES]) for row in rows] == [1, 1, 0]
    assert rows[0][c.INTEREST_FEEDBACK] == [1.0]
    assert np.isnan(rows[1][c.INTEREST_FEEDBACK]).all()


def test_late_vector_makes_a_snapshot_known_late():
    noon = US_PER_DAY // 2
    row = mine([Event("ann", 2, 0, 1.0)], catalogue(known_from=3 * noon), SnapshotTimes(2 * noon))
    assert row[0][c.AVAILABLE_AT].hour == 12
    assert row[0][c.EVENT_TIMESTAMP].hour == 0


@pytest.mark.parametrize(
    "events",
    [
        [],
        [Event("ann", 2, 0, 0.0), Event("ann", 4, 0, -1.0)],
        [Event("ann", 3, 0, 1.0)],
        [Event("ann", 2, 5 * US_PER_DAY, 1.0)],
    ],
    ids=["no events", "nothing liked", "no vector", "nothing yet"],
)
def test_without_a_liked_vector_there_is_no_row_but_all_columns(events):
    found = compute_interest_table(
        table_of(events), catalogue(), SnapshotTimes(5 * US_PER_DAY), CONFIG, HISTORY
    )
    assert found.num_rows == 0
    assert set(LISTS) < set(found.column_names)
    assert found.schema.field(c.INTEREST_MEDOIDS).type == pa.list_(pa.int64())


def test_equal_times_and_repeated_events_count_each():
    events = [Event("ann", 2, 0, 1.0)] * 3 + [Event("ann", 4, 0, 1.0)]
    (row,) = mine(events, catalogue(), SnapshotTimes(US_PER_DAY))
    assert sorted(zip(row[c.INTEREST_MEDOIDS], row[c.INTEREST_SIZES], strict=True)) == [
        (2, 3), (4, 1),
    ]  # fmt: skip
    assert row[c.INTEREST_WEIGHTS] == [0.75, 0.25]


def test_user_of_a_hundred_thousand_events_is_no_hindrance():
    rng = np.random.default_rng(0)
    times = rng.integers(0, 300 * US_PER_DAY, 100_000)
    events = [Event("ann", int(2 * rng.integers(20)), int(at), 1.0) for at in times]
    monthly = SnapshotTimes(300 * US_PER_DAY, 30 * US_PER_DAY)
    rows = mine(events, catalogue(), monthly, InterestConfig(max_events=2_000))
    assert [sum(row[c.INTEREST_SIZES]) for row in rows] == [2_000] * 10


def test_rows_read_back_are_the_snapshots_in_order():
    events, vectors = random_events(3), catalogue()
    table = compute_interest_table(table_of(events), vectors, HOURS, CONFIG, HISTORY)
    shuffled = table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows)))
    (user,) = codes_of(ids_of(shuffled[c.USER_ID]))
    found = build_snapshots(shuffled, user, DIM)
    rows = table.sort_by([(c.USER_ID, "ascending"), (c.EVENT_TIMESTAMP, "ascending")]).to_pylist()
    assert len(found) == len(rows) > 100
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    for place, row in enumerate(rows):
        stretch = slice(found.offsets[place], found.offsets[place + 1])
        assert found.weight[stretch].tolist() == row[c.INTEREST_WEIGHTS]
        assert found.size[stretch].tolist() == row[c.INTEREST_SIZES]
        assert found.newest_us[stretch].tolist() == row[c.INTEREST_TIMES]
        packed = np.frombuffer(row[c.INTEREST_VECTORS], "<f2").reshape(-1, DIM)
        np.testing.assert_allclose(found.vectors[stretch], packed, atol=1e-3)
        assert timedelta(microseconds=int(found.time_us[place])) == row[c.EVENT_TIMESTAMP] - EPOCH


EPOCH = pa.scalar(0, pa.int64()).cast(TIMESTAMP).as_py()
