"""The kernel against a double loop over all rows and all events, and poisoned futures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.config import MatchConfig
from sail_features.embeddings import EmbeddingTable, normalise, pack_column
from sail_features.history import NEVER_US, US_PER_DAY, HistoryWindow
from sail_features.match import sorted_rows
from sail_features.match.events import sort_history
from sail_features.match.family import build_features, columns_of
from sail_features.match.frame import compute_match_table
from sail_features.match.history_counts import HistoryCounts
from sail_features.match.kernel import compute_match
from sail_features.match.sorted_rows import MatchRows, SortedRows
from sail_features.schemas import TIMESTAMP
from sail_features.testing.oracles import Asked, Event, Snapshot, naive_history, naive_match

STEP = US_PER_DAY // 2
"""All things happen at whole half days, so that many happen at once."""
CONFIG = MatchConfig(
    histogram_bins=5,
    neighbours=2,
    half_life_days=1.5,
    recent_days=1,
    windows_days=(1,),
    event_types=("buy", "play"),
)
FEATURES = build_features(CONFIG, categories=True, interests=True)
COLUMNS = columns_of(FEATURES)
WINDOW = HistoryWindow(timedelta(microseconds=5 * STEP), max_events=4)
USERS = ["1", "11"]
ITEMS = ["1", "11", "111", "12", "3"]
"""Ids that read alike when a user's and an item's are put together."""
CATEGORY = {"1": 0, "11": 0, "111": 1}


def as_stored(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors that come back the same from float16 bytes."""
    for _ in range(9):
        vectors = normalise(vectors.astype(np.float16).astype(np.float32))
    return vectors


VECTORS = as_stored(normalise(np.random.default_rng(3).standard_normal((len(ITEMS), 6))))

moments = st.integers(0, 9).map(lambda steps: steps * STEP)
weights = st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])
kinds = st.sampled_from([str, int])
vectored = st.sets(st.sampled_from(ITEMS), min_size=1)
event_lists = st.lists(
    st.builds(
        Event,
        st.sampled_from(USERS),
        st.sampled_from(ITEMS),
        moments,
        weights,
        st.sampled_from(["", "buy", "play"]),
    ),
    max_size=30,
)
row_lists = st.lists(
    st.builds(Asked, st.sampled_from([*USERS, "7"]), st.sampled_from(ITEMS), moments),
    min_size=1,
    max_size=20,
)
interests = st.lists(
    st.tuples(
        st.sampled_from([vector.tolist() for vector in VECTORS]),
        st.sampled_from([0.25, 0.5]),
        st.integers(1, 9),
        moments,
        st.sampled_from([-0.5, 0.0, 1.0]),
    ),
    max_size=3,
)
snapshot_lists = st.lists(
    st.builds(Snapshot, st.sampled_from([*USERS, "8"]), moments, moments, interests),
    max_size=6,
    unique_by=lambda snapshot: snapshot[:2],
)


def table_of(items: Sequence[str], kind: type = str) -> EmbeddingTable:
    """Return the vectors of ``items``; item number n became known after 3 n steps."""
    chosen = sorted((kind(item), place) for place, item in enumerate(ITEMS) if item in items)
    return EmbeddingTable(
        np.array([item for item, _ in chosen], np.str_ if kind is str else np.int64),
        VECTORS[[place for _, place in chosen]],
        "test",
        np.array([3 * STEP * place for _, place in chosen], np.int64),
    )


def arrow(tuples: Sequence[tuple[object, ...]], kind: type) -> pa.Table:
    """Return rows or events as the table that a Spark task gets."""
    typed = [(kind(user), kind(item), *rest) for user, item, *rest in tuples]
    table = worlds.pair_table(typed, pa.string() if kind is str else pa.int64())
    types = [row[4] if len(row) > 4 else "" for row in tuples]
    return table.append_column(c.EVENT_TYPE, pa.array(types, pa.string()))


def user_interest(snapshots: Sequence[Snapshot], kind: type) -> pa.Table:
    """Return the rows of ``user_interest``."""
    mined = [list(zip(*one.interests, strict=True)) or [()] * 5 for one in snapshots]
    vectors = [
        b"".join(pack_column(np.array(part[0], np.float32).reshape(-1, 6)).to_pylist())
        for part in mined
    ]
    times = {
        c.EVENT_TIMESTAMP: [one.time_us for one in snapshots],
        c.AVAILABLE_AT: [one.available_at_us for one in snapshots],
    }
    return pa.table(
        {
            c.USER_ID: pa.array([kind(one.user) for one in snapshots], worlds.id_type(kind)),
            **{name: pa.array(us, pa.int64()).cast(TIMESTAMP) for name, us in times.items()},
            c.INTEREST_VECTORS: pa.array(vectors, pa.binary()),
            c.INTEREST_WEIGHTS: pa.array([part[1] for part in mined], pa.list_(pa.float32())),
            c.INTEREST_SIZES: pa.array([part[2] for part in mined], pa.list_(pa.int64())),
            c.INTEREST_TIMES: pa.array([part[3] for part in mined], pa.list_(pa.int64())),
            c.INTEREST_FEEDBACK: pa.array([part[4] for part in mined], pa.list_(pa.float32())),
        }
    )


def match(
    rows: Sequence[Asked],
    events: Sequence[Event],
    items: Sequence[str] = ITEMS,
    kind: type = str,
    window: HistoryWindow = WINDOW,
    snapshots: Sequence[Snapshot] = (),
) -> dict[Asked, list[float]]:
    """Return the features of each distinct row, through the Arrow path."""
    table = table_of(items, kind)
    found = compute_match_table(
        arrow(rows, kind),
        arrow(events, kind),
        table,
        FEATURES,
        window,
        category=np.array([CATEGORY.get(str(item), -1) for item in table.ids.tolist()], np.int64),
        interests=user_interest(snapshots, kind),
    )
    assert found.column_names[3:] == [c.AVAILABLE_AT, c.FEATURE_TIME, *COLUMNS]
    return {
        Asked(str(pair.user), str(pair.item), pair.as_of_us): [
            math.nan if row[name] is None else row[name] for name in COLUMNS
        ]
        for pair, row in worlds.rows_by_pair(found).items()
    }


def assert_same_bits(found: dict[Asked, list[float]], expected: dict[Asked, list[float]]):
    assert found.keys() == expected.keys()
    for row, values in expected.items():
        np.testing.assert_array_equal(found[row], values, err_msg=str(row))


def random_log(rng: np.random.Generator, sizes: Sequence[int], items: int):
    """Return the events of users of these sizes, sorted, over a short time."""
    user = np.repeat(np.arange(len(sizes)), sizes)
    return sort_history(
        user,
        rng.integers(0, items, len(user)),
        rng.integers(0, 40, len(user)) * STEP,
        rng.choice(np.float32([-1, -0.5, 0, 1, 2]), len(user)),
        np.arange(items),
    )


def random_table(rng: np.random.Generator, items: int, dim: int) -> EmbeddingTable:
    vectors = normalise(rng.standard_normal((items, dim))).astype(np.float16)
    return EmbeddingTable(np.arange(items), vectors, "test", np.zeros(items, np.int64))


@pytest.mark.parametrize("cells", [sorted_rows.CELLS_PER_BLOCK, 3], ids=["one block", "many"])
@settings(max_examples=200)
@given(rows=row_lists, events=event_lists, items=vectored, snapshots=snapshot_lists, kind=kinds)
def test_features_are_those_of_the_double_loop(cells, rows, events, items, snapshots, kind):
    # Ties in time are ordered by item: as numbers where ids are numbers.
    ordered = {item: kind(item) for item in ITEMS}
    expected = naive_match(
        [row._replace(item=ordered[row.item]) for row in rows],
        [event._replace(item=ordered[event.item]) for event in events],
        {ordered[item]: VECTORS[ITEMS.index(item)].tolist() for item in items},
        FEATURES,
        WINDOW,
        category={ordered[item]: code for item, code in CATEGORY.items()},
        snapshots=snapshots,
    )
    with mock.patch.object(sorted_rows, "CELLS_PER_BLOCK", cells):
        found = match(rows, events, items, kind, snapshots=snapshots)
    for row, values in zip(rows, expected, strict=True):
        np.testing.assert_allclose(found[row], values, rtol=1e-4, atol=1e-5, err_msg=str(row))


@given(rows=row_lists, events=event_lists, items=vectored)
def test_times_are_those_of_the_events_and_vectors_used(rows, events, items):
    table = compute_match_table(
        arrow(rows, str), arrow(events, str), table_of(items), FEATURES, WINDOW
    )
    for asked, row in worlds.rows_by_pair(table).items():
        newest = naive_history(asked.user, asked.as_of_us, events, WINDOW)
        seen = [event for event in newest if event.item in items]
        latest = worlds.moment_of(seen[0].time_us) if seen else None
        used = {event.item for event in seen} | ({asked.item} & items)
        available = max([asked.as_of_us, *(3 * STEP * ITEMS.index(item) for item in used)])
        assert row[c.FEATURE_TIME] == latest
        assert latest is None or latest < row[c.EVENT_TIMESTAMP]
        assert row[c.AVAILABLE_AT] == worlds.moment_of(available)


# ---- poisoned futures


@given(rows=row_lists, events=event_lists, poison=event_lists, mined=snapshot_lists, cut=moments)
def test_poisoned_future_changes_no_bit(rows, events, poison, mined, cut):
    """Whatever is added, changed or removed at or after a row's moment, it stays the same."""
    rows = [row._replace(as_of_us=min(row.as_of_us, cut)) for row in rows]
    past = [event for event in events if event.time_us < cut]
    future = [event._replace(time_us=max(event.time_us, cut)) for event in poison]
    known = [one for one in mined if max(one.time_us, one.available_at_us) <= cut]
    expected = match(rows, past, snapshots=known)
    assert_same_bits(match(rows, events, snapshots=mined), expected)
    assert_same_bits(match(rows, [*future, *past], snapshots=mined[::-1]), expected)
    with mock.patch.object(sorted_rows, "CELLS_PER_BLOCK", 3):
        assert_same_bits(match(rows, [*past, *future], snapshots=known), expected)


@given(events=event_lists, rows=row_lists)
def test_event_at_the_moment_of_a_row_is_not_seen(events, rows):
    at_the_moment = [Event(row.user, row.item, row.as_of_us, 1.0) for row in rows[:1]]
    assert_same_bits(match(rows[:1], events + at_the_moment), match(rows[:1], events))


# ---- the same bits however the work is cut


@given(rows=row_lists, events=event_lists, seed=st.integers(0, 9))
def test_order_and_company_of_rows_and_events_change_no_bit(rows, events, seed):
    expected = match(rows, events)
    rng = np.random.default_rng(seed)
    shuffled = [events[place] for place in rng.permutation(len(events))]
    assert_same_bits(match(rows[::-1], shuffled), expected)
    for row in set(rows):
        assert_same_bits(match([row], shuffled), {row: expected[row]})


@pytest.mark.parametrize("dim", [6, 64, 100])
def test_blocks_threads_order_and_batches_change_no_bit(dim):
    rng = np.random.default_rng(dim)
    table = random_table(rng, 300, dim)
    log = random_log(rng, [2500, 0, 1, 3, *rng.integers(0, 90, 60)], 300)
    rows = MatchRows(
        rng.integers(0, 66, 3000), rng.integers(-1, 300, 3000), rng.integers(0, 42, 3000) * STEP
    )
    window = HistoryWindow(timedelta(days=15), max_events=70)
    features = build_features(CONFIG)

    def values(asked: MatchRows, threads: int = 1):
        return compute_match(asked, log, table, features, window, threads=threads).values

    expected = values(rows)
    assert np.isfinite(expected).mean() > 0.5
    order = rng.permutation(3000)
    np.testing.assert_array_equal(values(rows.take(order), threads=3), expected[order])
    with mock.patch.object(sorted_rows, "CELLS_PER_BLOCK", 500):
        np.testing.assert_array_equal(values(rows, threads=4), expected)
    for batches in (2, 16):
        parts = [rows.take(part) for part in np.array_split(order, batches)]
        found = np.concatenate([values(part) for part in parts])
        np.testing.assert_array_equal(found, expected[order])


def test_blocks_are_bounded_and_hold_each_row_once():
    rng = np.random.default_rng(0)
    log = random_log(rng, [100] * 9, 5)
    rows = MatchRows(
        rng.integers(0, 9, 300), np.zeros(300, np.int64), rng.integers(0, 60, 300) * STEP
    )
    ordered = SortedRows.of(rows, log, HistoryWindow(timedelta(days=15), 30), np.zeros(5, np.int64))
    with mock.patch.object(sorted_rows, "CELLS_PER_BLOCK", 200):
        blocks = ordered.blocks()
    cells = [(ordered.stop[block] - ordered.start[block]).sum() for block in blocks]
    assert max(cells) <= 200
    assert len(blocks) > 10
    covered = np.concatenate([ordered.order[block] for block in blocks])
    assert sorted(covered) == list(range(300))


# ---- hard inputs


def test_item_without_a_vector_is_no_history_and_no_target():
    events = [Event("1", "1", 1, 1.0), Event("1", "11", 2, 1.0)]
    found = match([Asked("1", "1", 5), Asked("1", "11", 5)], events, items=["1"])
    with_vector = dict(zip(COLUMNS, found[Asked("1", "1", 5)], strict=True))
    assert with_vector["history_count"] == 1
    assert with_vector["history_coverage"] == 0.5
    assert with_vector["sim_max"] == pytest.approx(1)
    assert np.isnan(found[Asked("1", "11", 5)]).all()


def test_nobody_and_nothing():
    asked, events = [Asked("7", "1", 5)], [Event("1", "1", 1, 1.0)]
    stranger = dict(zip(COLUMNS, match(asked, events)[asked[0]], strict=True))
    assert stranger["history_count"] == 0
    assert math.isnan(stranger["sim_max"])
    assert_same_bits(match(asked, []), match(asked, events))
    none = arrow(asked, str).slice(0, 0)
    empty = compute_match_table(none, arrow(events, str), table_of(ITEMS), FEATURES, WINDOW)
    assert empty.num_rows == 0


def test_no_vectors_at_all_leave_every_value_missing():
    table = EmbeddingTable(
        np.array([], np.str_), np.empty((0, 4), np.float32), "test", np.array([], np.int64)
    )
    found = compute_match_table(
        arrow([Asked("1", "1", 5)], str),
        arrow([Event("1", "1", 1, 1.0)], str),
        table,
        FEATURES,
        WINDOW,
    )
    assert all(found[name].null_count == 1 for name in COLUMNS)


def test_repeated_events_count_each_time():
    rows = [Asked("1", "1", 5)]
    found = match(rows, [Event("1", "1", 1, 1.0)] * 3)[rows[0]]
    assert dict(zip(COLUMNS, found, strict=True))["history_count"] == 3


def test_all_events_at_one_moment_are_seen_together_or_not_at_all():
    events = [Event("1", item, 4 * STEP, 1.0) for item in ITEMS[:3]]
    before, after = Asked("1", "3", 4 * STEP), Asked("1", "3", 4 * STEP + 1)
    found = match([before, after], events)
    counts = [found[row][COLUMNS.index("history_count")] for row in (before, after)]
    assert counts == [0, 3]


def test_user_with_a_million_events_among_small_ones():
    """Long histories cost their slices, not their length: few rows of a huge user are quick."""
    rng = np.random.default_rng(0)
    table = random_table(rng, 1000, 32)
    size = 1_000_000
    user = np.repeat(np.arange(100), [size, *[7] * 99])
    log = sort_history(
        user,
        rng.integers(0, 1000, len(user)),
        np.arange(len(user)),
        np.ones(len(user), np.float32),
        np.arange(1000),
    )
    rows = MatchRows(
        np.repeat(np.arange(100), 20),
        rng.integers(0, 1000, 2000),
        np.tile(np.linspace(1, len(user), 20).astype(np.int64), 100),
    )
    window = HistoryWindow(timedelta(days=1), max_events=50)
    result = compute_match(rows, log, table, build_features(MatchConfig()), window)
    counts = result.values[:, columns_of(build_features(MatchConfig())).index("history_count")]
    assert counts[:20].tolist() == [1, *[50] * 19]
    row = 7
    stop = int(rows.as_of_us[row])
    similarity = table.take(log.item[stop - 50 : stop]) @ table.take(rows.item[[row]])[0]
    assert result.values[row, 0] == pytest.approx(similarity.max(), abs=1e-6)


def test_ages_are_in_days_even_far_from_1970():
    far = 20_000 * US_PER_DAY
    log = sort_history(
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.array([far]),
        np.ones(1, np.float32),
        np.zeros(1, np.int64),
    )
    moment = np.array([far + 3 * US_PER_DAY])
    rows = MatchRows(np.zeros(1, np.int64), np.zeros(1, np.int64), moment)
    window = HistoryWindow(timedelta(days=9), 5)
    result = compute_match(rows, log, table_of(ITEMS), [HistoryCounts()], window)
    assert result.values.tolist() == [[1, 1, 0, 3]]
    assert result.feature_time_us.tolist() == [far]


def test_row_without_history_has_no_feature_time():
    rows = MatchRows(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([5]))
    nothing = np.empty(0, np.int64)
    log = sort_history(nothing, nothing, nothing, np.empty(0, np.float32), nothing)
    result = compute_match(rows, log, table_of(ITEMS), FEATURES, WINDOW)
    assert result.feature_time_us.tolist() == [NEVER_US]
