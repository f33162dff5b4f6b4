"""Which past events a row may see: the sorted slices against a plain double loop."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sail_features.history import (
    NEVER_US,
    EventLog,
    HistorySlices,
    HistoryWindow,
    codes_of,
    compute_slices,
    count_before,
    ids_of,
    sort_events,
    times_of,
    to_us,
    us_of,
)
from sail_features.testing.oracles import Event, naive_history

ANN, BOB, EVE = 1, 2, 9


def log_of(
    *events: tuple[int, int] | tuple[int, int, int] | tuple[int, int, int, float],
) -> EventLog:
    """Return the log of (owner, time, item 0, weight 1) events."""
    filled = [(*event, *(0, 1.0)[len(event) - 2 :]) for event in events]
    owner, time, item, weight = np.array(filled, np.float64).reshape(-1, 4).T
    return sort_events(
        owner.astype(np.int64), time.astype(np.int64), item.astype(np.int64), weight.astype("f4")
    )


def window(lookback_us: int = 10**6, max_events: int = 100) -> HistoryWindow:
    return HistoryWindow(timedelta(microseconds=lookback_us), max_events)


def times_seen(log: EventLog, owner: int, as_of: int, seen_through: HistoryWindow) -> list[int]:
    slices = compute_slices(log, np.array([owner]), np.array([as_of]), seen_through)
    return log.time_us[slices.start[0] : slices.stop[0]].tolist()


def test_event_at_as_of_is_not_seen():
    log = log_of((ANN, 10), (ANN, 20), (ANN, 20), (ANN, 30))
    assert times_seen(log, ANN, 20, window()) == [10]
    assert times_seen(log, ANN, 21, window()) == [10, 20, 20]


def test_event_at_the_start_of_the_lookback_is_seen():
    log = log_of((ANN, 9), (ANN, 10), (ANN, 19))
    assert times_seen(log, ANN, 20, window(lookback_us=10)) == [10, 19]


def test_newest_events_are_kept():
    log = log_of((ANN, 10), (ANN, 20), (ANN, 30), (ANN, 40))
    assert times_seen(log, ANN, 40, window(max_events=2)) == [20, 30]


def test_unknown_owners_see_nothing_wherever_they_would_sort():
    log = log_of((ANN, 10), (BOB, 10), (EVE, 10))
    for owner in (0, 3, 8, 10):
        assert times_seen(log, owner, 99, window()) == []
        assert times_seen(log, owner, 5, window()) == []


def test_owners_do_not_see_each_other():
    log = log_of((ANN, 10), (BOB, 20), (EVE, 30))
    assert times_seen(log, BOB, 99, window()) == [20]
    assert times_seen(log, EVE, 99, window()) == [30]


def test_empty_log_and_no_rows():
    nothing = np.empty(0, np.int64)
    assert times_seen(log_of(), ANN, 10, window()) == []
    assert len(compute_slices(log_of((ANN, 1)), nothing, nothing, window()).count) == 0
    assert len(log_of()) == 0


def test_rows_may_lie_before_and_after_all_events():
    log = log_of((ANN, 10), (ANN, 20))
    assert times_seen(log, ANN, -(10**15), window()) == []
    assert times_seen(log, ANN, 10**15, window(lookback_us=10**18)) == [10, 20]


def test_equally_old_events_are_ordered_by_item_then_weight():
    shuffled = [(ANN, 5, 2, -1.0), (ANN, 5, 1, 0.5), (ANN, 5, 1, -1.0), (ANN, 4, 9, 0.0)]
    for turn in range(4):
        log = log_of(*shuffled[turn:], *shuffled[:turn])
        assert log.item.tolist() == [9, 1, 1, 2]
        assert log.weight.tolist() == [0.0, -1.0, 0.5, -1.0]


ids = st.integers(0, 3)
moments = st.integers(0, 8)
events = st.lists(st.tuples(ids, moments, ids, st.sampled_from([-1.0, 0.0, 0.5])), max_size=25)


@settings(max_examples=200)
@given(
    events=events,
    rows=st.lists(st.tuples(ids, moments), max_size=10),
    lookback=st.integers(1, 9),
    most=st.integers(1, 6),
    skipped=st.integers(0, 3),
)
def test_slices_hold_what_a_double_loop_finds(events, rows, lookback, most, skipped):
    log = log_of(*events)
    looking = replace(window(lookback, most), skip_newest=skipped)
    owner, as_of = np.array(rows, np.int64).reshape(-1, 2).T
    slices = compute_slices(log, owner, as_of, looking)
    told = [Event(user, item, time, weight) for user, time, item, weight in events]
    for row, (user, moment) in enumerate(rows):
        expected = naive_history(user, moment, told, looking)
        assert seen_events(log, slices, row) == [event[:4] for event in expected]


def seen_events(log: EventLog, slices: HistorySlices, row: int) -> list[tuple[object, ...]]:
    """Return a row's events as (owner, item, time, weight), newest first."""
    part = slice(slices.start[row], slices.stop[row])
    columns = (log.owner, log.item, log.time_us, log.weight)
    return list(zip(*(values[part][::-1].tolist() for values in columns), strict=True))


@given(events=events, rows=st.lists(st.tuples(ids, moments), min_size=1, max_size=10))
def test_difference_to_the_beginning_counts_the_events_before(events, rows):
    log = log_of(*events)
    owner, time = np.array(rows, np.int64).T
    first = count_before(log, owner, np.full(len(owner), NEVER_US))
    counts = (count_before(log, owner, time) - first).tolist()
    assert counts == [sum(e[0] == user and e[1] < when for e in events) for user, when in rows]


def test_equal_ids_of_several_arrays_get_equal_codes():
    left, right, none = codes_of(np.array([30, 10]), np.array([10, 20]), np.array([], np.int64))
    assert (left.tolist(), right.tolist(), none.tolist()) == ([2, 0], [0, 1], [])
    left, right = codes_of(np.array(["1", "11"]), np.array(["111", "1"]))
    assert (left.tolist(), right.tolist()) == ([0, 1], [2, 0])


def test_time_survives_the_way_to_microseconds_and_back():
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)
    assert to_us(moment) == -1
    column = times_of(np.array([-1, NEVER_US]))
    assert column.to_pylist() == [moment, None]
    assert us_of(pa.chunked_array([column[:1]])).tolist() == [-1]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_ids_become_arrays_that_numpy_can_sort(kind):
    assert ids_of(pa.chunked_array([pa.array(["b", "äöü"], kind)])).dtype.kind == "U"
    assert ids_of(pa.chunked_array([[2**60]])).tolist() == [2**60]
    assert len(ids_of(pa.chunked_array([pa.array([], kind)]))) == 0
