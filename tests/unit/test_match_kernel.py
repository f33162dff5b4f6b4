"""The kernel against a double loop over all rows and all events, and poisoned futures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from sail_features import columns as c
from sail_features.config import MatchConfig
from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.history import NEVER_US, HistoryWindow, compute_slices, sort_events
from sail_features.match import kernel
from sail_features.match.family import build_features, columns_of
from sail_features.match.frame import compute_match_table, sample_similarities
from sail_features.match.history_counts import HistoryCounts
from sail_features.match.kernel import MatchRows, compute_match, sort_history
from sail_features.testing.oracles import Asked, Event, naive_history, naive_match

FEATURES = build_features(MatchConfig(histogram_bins=5, neighbours=2, half_life_days=1e-10))
COLUMNS = columns_of(FEATURES)
WINDOW = HistoryWindow(timedelta(microseconds=5), max_events=4)
USERS = ["1", "11"]
ITEMS = ["1", "11", "111", "12", "3"]
"""Ids that read alike when a user's and an item's are put together."""
VECTORS = normalise(np.random.default_rng(3).standard_normal((len(ITEMS), 6)))
TIGHT = {"CELLS_PER_BLOCK": 3, "EVENTS_PER_BAND": 2}

moments = st.integers(0, 9)
weights = st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])
kinds = st.sampled_from([str, int])
vectored = st.sets(st.sampled_from(ITEMS), min_size=1)
event_lists = st.lists(
    st.builds(Event, st.sampled_from(USERS), st.sampled_from(ITEMS), moments, weights), max_size=30
)
row_lists = st.lists(
    st.builds(Asked, st.sampled_from([*USERS, "7"]), st.sampled_from(ITEMS), moments),
    min_size=1,
    max_size=20,
)


@contextmanager
def limits(**names: int) -> Iterator[None]:
    """Make blocks and bands so small that a few rows cross them."""
    names.setdefault("CELLS_PER_BLOCK", kernel.CELLS_PER_BLOCK)
    with mock.patch.multiple(kernel, **names):
        yield


def table_of(items: Sequence[str], kind: type = str) -> EmbeddingTable:
    """Return the vectors of ``items``; item number n became known at 10 n."""
    chosen = sorted((kind(item), place) for place, item in enumerate(ITEMS) if item in items)
    return EmbeddingTable(
        np.array([item for item, _ in chosen], np.str_ if kind is str else np.int64),
        VECTORS[[place for _, place in chosen]],
        "test",
        np.array([10 * place for _, place in chosen], np.int64),
    )


def arrow(tuples: Sequence[tuple[object, ...]], kind: type) -> pa.Table:
    """Return rows or events as the table that a Spark task gets."""
    typed = [(kind(user), kind(item), *rest) for user, item, *rest in tuples]
    return worlds.pair_table(typed, pa.string() if kind is str else pa.int64())


def match(
    rows: Sequence[Asked],
    events: Sequence[Event],
    items: Sequence[str] = ITEMS,
    kind: type = str,
    window: HistoryWindow = WINDOW,
) -> dict[Asked, list[float]]:
    """Return the features of each distinct row, through the Arrow path."""
    table = compute_match_table(
        arrow(rows, kind), arrow(events, kind), table_of(items, kind), FEATURES, window
    )
    assert table.column_names[3:] == [c.AVAILABLE_AT, c.FEATURE_TIME, *COLUMNS]
    return {
        Asked(str(pair.user), str(pair.item), pair.as_of_us): [
            math.nan if row[name] is None else row[name] for name in COLUMNS
        ]
        for pair, row in worlds.rows_by_pair(table).items()
    }


def assert_same(found: dict[Asked, list[float]], expected: dict[Asked, list[float]], **limits):
    assert found.keys() == expected.keys()
    for row, values in expected.items():
        np.testing.assert_allclose(found[row], values, err_msg=str(row), **limits)


@pytest.mark.parametrize("tight", [{}, TIGHT], ids=["one block", "many blocks and bands"])
@settings(max_examples=300)
@given(rows=row_lists, events=event_lists, items=vectored, kind=kinds)
def test_features_are_those_of_the_double_loop(tight, rows, events, items, kind):
    vectors = {item: VECTORS[ITEMS.index(item)].tolist() for item in items}
    # Ties in time are ordered by item: as numbers where ids are numbers.
    ordered = {item: kind(item) for item in ITEMS}
    told = [event._replace(item=ordered[event.item]) for event in events]
    asked = [row._replace(item=ordered[row.item]) for row in rows]
    known = {ordered[item]: vector for item, vector in vectors.items()}
    expected = dict(zip(rows, naive_match(asked, told, known, FEATURES, WINDOW), strict=True))
    with limits(**tight):
        found = match(rows, events, items, kind)
    assert_same(found, expected, rtol=1e-3, atol=1e-5)


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
        available = max([asked.as_of_us, *(10 * ITEMS.index(item) for item in used)])
        assert row[c.FEATURE_TIME] == latest
        assert latest is None or latest < row[c.EVENT_TIMESTAMP]
        assert row[c.AVAILABLE_AT] == worlds.moment_of(available)


@given(rows=row_lists, events=event_lists, poison=event_lists, cut=moments)
def test_poisoned_future_changes_nothing(rows, events, poison, cut):
    """Whatever is added, changed or removed at or after a row's moment, it stays the same."""
    rows = [row._replace(as_of_us=min(row.as_of_us, cut)) for row in rows]
    past = [event for event in events if event.time_us < cut]
    future = [event._replace(time_us=max(event.time_us, cut)) for event in poison]
    expected = match(rows, past)
    assert_same(match(rows, events), expected, rtol=0, atol=1e-6)
    assert_same(match(rows, [*future, *past]), expected, rtol=0, atol=1e-6)
    with limits(**TIGHT):
        assert_same(match(rows, [*past, *future]), expected, rtol=0, atol=1e-6)


@given(events=event_lists, rows=row_lists)
def test_event_at_the_moment_of_a_row_is_not_seen(events, rows):
    at_the_moment = [Event(row.user, row.item, row.as_of_us, 1.0) for row in rows[:1]]
    asked = rows[:1]
    assert_same(match(asked, events + at_the_moment), match(asked, events), rtol=0, atol=1e-6)


@given(rows=row_lists, events=event_lists, seed=st.integers(0, 9))
def test_order_of_rows_and_events_does_not_matter(rows, events, seed):
    table = table_of(ITEMS)
    user = np.array([USERS.index(row.user) if row.user in USERS else 9 for row in rows])
    item = table.rows_of(np.array([row.item for row in rows]))
    as_of = np.array([row.as_of_us for row in rows])
    log = sort_history(
        np.array([USERS.index(event.user) for event in events], np.int64),
        table.rows_of(np.array([event.item for event in events], np.str_)),
        np.array([event.time_us for event in events], np.int64),
        np.array([event.weight for event in events], np.float32),
        np.arange(len(table)),
    )
    order = np.random.default_rng(seed).permutation(len(rows))
    straight = compute_match(MatchRows(user, item, as_of), log, table, FEATURES, WINDOW)
    shuffled = MatchRows(user[order], item[order], as_of[order])
    permuted = compute_match(shuffled, log, table, FEATURES, WINDOW)
    np.testing.assert_allclose(permuted.values, straight.values[order], rtol=0, atol=1e-6)
    assert permuted.feature_time_us.tolist() == straight.feature_time_us[order].tolist()
    assert permuted.available_at_us.tolist() == straight.available_at_us[order].tolist()
    backwards = match(rows[::-1], events[::-1])
    assert_same(backwards, match(rows, events), rtol=0, atol=1e-6)


def test_block_and_band_limits_change_nothing_on_a_longer_log():
    """One very active user beside many of one event each, all events at three moments."""
    rng = np.random.default_rng(0)
    events = [Event("1", ITEMS[rng.integers(5)], int(rng.integers(3)), 1.0) for _ in range(400)]
    events += [Event(str(100 + n), ITEMS[n % 5], n % 3, -0.5) for n in range(60)]
    rows = [Asked("1", item, moment) for item in ITEMS for moment in range(5)]
    rows += [Asked(str(100 + n), ITEMS[n % 4], 4) for n in range(60)]
    window = HistoryWindow(timedelta(microseconds=9), max_events=70)
    expected = match(rows, events, window=window)
    for cells, band in [(1, 1), (100, 1), (1, 50), (700, 71), (10**6, 10**6)]:
        with limits(CELLS_PER_BLOCK=cells, EVENTS_PER_BAND=band):
            assert_same(match(rows, events, window=window), expected, rtol=0, atol=1e-5)


def test_blocks_are_bounded_and_hold_each_row_once():
    rng = np.random.default_rng(0)
    user = rng.integers(0, 9, 300)
    log = sort_events(
        rng.integers(0, 8, 900), rng.integers(0, 50, 900), np.zeros(900, np.int64),
        np.ones(900, np.float32),
    )  # fmt: skip
    rows = MatchRows(user, np.zeros(300, np.int64), rng.integers(0, 60, 300))
    window = HistoryWindow(timedelta(microseconds=40), 30)
    slices = compute_slices(log, rows.user, rows.as_of_us, window)
    with limits(CELLS_PER_BLOCK=100):
        blocks = list(kernel._iter_blocks(rows, slices))
    cells = [len(block) * max(slices.count[block].max(), 1) for block in blocks]
    assert max(cells) <= 100
    assert sorted(np.concatenate(blocks)) == list(range(300))


def test_item_without_a_vector_is_no_history_and_no_target():
    events = [Event("1", "1", 1, 1.0), Event("1", "11", 2, 1.0)]
    found = match([Asked("1", "1", 5), Asked("1", "11", 5)], events, items=["1"])
    with_vector = dict(zip(COLUMNS, found[Asked("1", "1", 5)], strict=True))
    assert with_vector["history_count"] == 1
    assert with_vector["sim_max"] == pytest.approx(1)
    assert np.isnan(found[Asked("1", "11", 5)]).all()


def test_nobody_and_nothing():
    events = [Event("1", "1", 1, 1.0)]
    stranger = dict(
        zip(COLUMNS, match([Asked("7", "1", 5)], events)[Asked("7", "1", 5)], strict=True)
    )
    assert stranger["history_count"] == 0
    assert math.isnan(stranger["sim_max"])
    assert stranger == pytest.approx(
        dict(zip(COLUMNS, match([Asked("7", "1", 5)], [])[Asked("7", "1", 5)], strict=True)),
        nan_ok=True,
    )
    empty = compute_match_table(
        arrow([Asked("1", "1", 5)], str).slice(0, 0),
        arrow(events, str),
        table_of(ITEMS),
        FEATURES,
        WINDOW,
    )
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


def test_ages_are_in_days_even_far_from_1970():
    day = 86_400_000_000
    table = table_of(ITEMS)
    far = 20_000 * day
    log = sort_history(
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.array([far]),
        np.ones(1, np.float32),
        np.zeros(1, np.int64),
    )
    rows = MatchRows(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([far + 3 * day]))
    window = HistoryWindow(timedelta(days=9), 5)
    result = compute_match(rows, log, table, [HistoryCounts()], window)
    assert result.values.tolist() == [[1, 1, 0, 3]]
    assert result.feature_time_us.tolist() == [far]


def test_row_without_history_has_no_feature_time():
    rows = MatchRows(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([5]))
    nothing = np.empty(0, np.int64)
    log = sort_history(nothing, nothing, nothing, np.empty(0, np.float32), nothing)
    result = compute_match(rows, log, table_of(ITEMS), FEATURES, WINDOW)
    assert result.feature_time_us.tolist() == [NEVER_US]


@given(rows=row_lists, events=event_lists, items=vectored)
def test_sample_of_similarities_is_of_all_liked_events_seen(rows, events, items):
    vectors = {item: VECTORS[ITEMS.index(item)] for item in items}
    expected = sorted(
        float(vectors[row.item] @ vectors[event.item])
        for row in rows
        if row.item in items
        for event in naive_history(row.user, row.as_of_us, events, WINDOW)
        if event.weight > 0 and event.item in items
    )
    asked, told, table = arrow(rows, str), arrow(events, str), table_of(items)
    values, count = sample_similarities(asked, told, table, WINDOW)
    assert count == len(expected)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    fewer, of = sample_similarities(asked, told, table, WINDOW, limit=3)
    assert (len(fewer), of) == (min(3, count), count)
    assert count < 3 or fewer[0] == values[0]
    assert count < 3 or fewer[-1] == values[-1]


def test_bands_are_of_one_user_and_of_bounded_length():
    rng = np.random.default_rng(0)
    user = np.sort(rng.integers(0, 5, 200))
    stop = np.sort(rng.integers(0, 400, 200))
    start = np.maximum(stop - rng.integers(0, 9, 200), 0)
    with limits(EVENTS_PER_BAND=20):
        bands = list(kernel._iter_bands(user, start, stop))
    assert [row for band in bands for row in range(band.start, band.stop)] == list(range(200))
    for band in bands:
        assert len(set(user[band])) == 1
        assert stop[band].max() - start[band].min() <= 20 + 8
