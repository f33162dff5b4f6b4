"""Baseline features against naive counts, for users, items, pairs and categories."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st
from worlds import at

from sail_features import columns as c
from sail_features.baseline.features import ITEM_COLUMNS, USER_COLUMNS, baseline_id
from sail_features.baseline.frame import (
    ITEM_TIME,
    NEWEST,
    compute_item_table,
    compute_user_table,
)
from sail_features.baseline.running_counts import compute_mean_before, compute_running_counts
from sail_features.config import BaselineConfig
from sail_features.history import NEVER_US, sort_events, to_us
from sail_features.schemas import TIMESTAMP
from sail_features.testing.oracles import US_PER_DAY, Counts, naive_running_counts

CONFIG = BaselineConfig(smoothing=3, recent_days=2)
CATEGORY = {"tea": "drinks", "mug": "home", "pot": "home", "odd": None}
PRICE = {"tea": 3.0, "mug": 8.0, "pot": None, "odd": 0.0}

ids = st.integers(0, 3)
moments = st.integers(0, 10)
log_events = st.lists(st.tuples(ids, moments, st.sampled_from([-1.0, 0.0, 1.0])), max_size=25)


@given(
    events=log_events,
    rows=st.lists(st.tuples(ids, moments), min_size=1, max_size=8),
    recent=st.integers(1, 6),
    smoothing=st.sampled_from([0, 1, 20]),
)
def test_running_counts_are_those_of_a_loop(events, rows, recent, smoothing):
    log = log_of(events)
    owner, as_of = np.array(rows).T
    counts = compute_running_counts(log, owner, as_of, recent_us=recent, smoothing=smoothing)
    for row, (who, moment) in enumerate(rows):
        own = [(time, weight) for user, time, weight in events if user == who]
        found = Counts(*(float(getattr(counts, name)[row]) for name in Counts._fields))
        expected = naive_running_counts(own, moment, recent_us=recent, smoothing=smoothing)
        assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)
        newest = max((time for time, _ in own if time < moment), default=NEVER_US)
        assert counts.newest_us[row] == newest


def log_of(events: list[tuple[int, int, float]]):
    owner, time, weight = np.array(events, np.float64).reshape(-1, 3).T
    item = np.zeros(len(events), np.int64)
    return sort_events(owner.astype(np.int64), time.astype(np.int64), item, weight.astype("f4"))


@given(events=log_events, rows=st.lists(st.tuples(ids, moments), min_size=1, max_size=8))
def test_mean_before_leaves_unknown_values_out(events, rows):
    log = log_of(events)
    values = np.where(log.weight < 0, np.nan, log.weight + log.time_us).astype(np.float32)
    owner, as_of = np.array(rows).T
    found = compute_mean_before(log, values, owner, as_of)
    for row, (who, moment) in enumerate(rows):
        known = [w + t for user, t, w in events if user == who and t < moment and w >= 0]
        expected = sum(known) / len(known) if known else math.nan
        assert found[row] == pytest.approx(expected, nan_ok=True)


def tables(
    rows: list[tuple[str, str, float]], feedback: list[tuple[str, str, float, float]]
) -> tuple[pa.Table, pa.Table]:
    """Return rows (user, item, day) and feedback (user, item, day, weight) as a task gets them."""
    return _table(rows, ITEM_TIME), _table(feedback, c.WEIGHT)


def _table(tuples: list[tuple[Any, ...]], last: str) -> pa.Table:
    items = [row[1] for row in tuples]
    columns = {
        c.USER_ID: pa.array([row[0] for row in tuples], pa.string()),
        c.ITEM_ID: pa.array(items, pa.string()),
        c.EVENT_TIMESTAMP: pa.array([at(row[2]) for row in tuples], TIMESTAMP),
        c.CATEGORY: pa.array([CATEGORY[item] for item in items], pa.string()),
        c.PRICE: pa.array([PRICE[item] for item in items], pa.float32()),
    }
    if last == ITEM_TIME:
        columns[last] = pa.array([at(-1)] * len(tuples), TIMESTAMP)
    else:
        columns[last] = pa.array([row[3] for row in tuples], pa.float32())
    return pa.table(columns)


def naive_user(row, feedback, own) -> Counts:
    """Return the counts of the events that ``own`` picks, before the row's day."""
    picked = [(to_us(at(event[2])), event[3]) for event in feedback if own(event)]
    return naive_running_counts(
        picked, to_us(at(row[2])), recent_us=2 * US_PER_DAY, smoothing=CONFIG.smoothing
    )


def naive_columns(row, feedback) -> dict[str, float]:
    """Return all baseline columns of a row, from the definitions."""
    who, item, day = row
    user = naive_user(row, feedback, lambda e: e[0] == who)
    pair = naive_user(row, feedback, lambda e: e[:2] == (who, item))
    same = CATEGORY[item]
    category = naive_user(row, feedback, lambda e: e[0] == who and CATEGORY[e[1]] == same)
    target = naive_user(row, feedback, lambda e: e[1] == item)
    paid = [
        math.log1p(PRICE[e[1]])
        for e in feedback
        if e[0] == who and e[2] < day and PRICE[e[1]] is not None
    ]
    price = math.nan if PRICE[item] is None else PRICE[item]
    known = 1.0 if same is not None else math.nan
    return {
        "user_events": user.events,
        "user_recent_events": user.recent,
        "user_liked_events": user.liked,
        "user_positive_rate": user.positive_rate,
        "user_days_since_event": user.days_since,
        "user_item_events": pair.events,
        "user_item_days_since_event": pair.days_since,
        "user_category_events": category.events * known,
        "user_category_liked_events": category.liked * known,
        "user_category_share": known * category.events / user.events if user.events else math.nan,
        "user_category_positive_rate": category.positive_rate * known,
        "price": price,
        "price_gap": math.log1p(price) - sum(paid) / len(paid) if paid else math.nan,
        "item_events": target.events,
        "item_recent_events": target.recent,
        "item_liked_events": target.liked,
        "item_positive_rate": target.positive_rate,
        "item_days_since_event": target.days_since,
        "item_age_days": day + 1,
    }


people, goods = st.sampled_from(["ann", "bob", "eve"]), st.sampled_from(sorted(CATEGORY))
days = st.integers(0, 6).map(float)


@given(
    rows=st.lists(st.tuples(people, goods, days), min_size=1, max_size=8, unique=True),
    feedback=st.lists(
        st.tuples(people, goods, days, st.sampled_from([-1.0, 0.0, 1.0])), max_size=20
    ),
)
def test_columns_are_those_of_their_definitions(rows, feedback):
    made = tables(rows, feedback)
    by_user = worlds.rows_by_pair(compute_user_table(*made, CONFIG))
    by_item = worlds.rows_by_pair(compute_item_table(*made, CONFIG))
    assert by_user.keys() == by_item.keys()
    for row in rows:
        key = (row[0], row[1], to_us(at(row[2])))
        expected = naive_columns(row, feedback)
        found = {**by_user[key], **by_item[key]}
        values = [math.nan if found[name] is None else found[name] for name in expected]
        np.testing.assert_allclose(values, list(expected.values()), rtol=1e-4, atol=1e-5)
        assert set(expected) == {*USER_COLUMNS, *ITEM_COLUMNS}


def test_event_at_the_moment_of_a_row_is_not_counted():
    made = tables([("ann", "tea", 3)], [("ann", "tea", 3, 1.0), ("ann", "mug", 4, 1.0)])
    (row,) = compute_user_table(*made, CONFIG).to_pylist()
    assert row["user_events"] == 0
    assert row["user_days_since_event"] is None
    assert row[NEWEST] is None


def test_newest_event_is_told():
    made = tables([("ann", "tea", 3)], [("ann", "mug", 1, 1.0), ("bob", "tea", 2, 1.0)])
    assert compute_user_table(*made, CONFIG)[NEWEST].to_pylist() == [at(1)]
    assert compute_item_table(*made, CONFIG)[NEWEST].to_pylist() == [at(2)]


def test_smoothed_rate_by_hand():
    liked = [("ann", "tea", 0, 1.0), ("ann", "mug", 1, 1.0), ("ann", "mug", 2, -1.0)]
    (row,) = compute_user_table(*tables([("ann", "tea", 3)], liked), CONFIG).to_pylist()
    assert row["user_positive_rate"] == pytest.approx((2 + 0.5 * 3) / (3 + 3))
    assert row["user_recent_events"] == 2


def test_no_feedback_and_no_rows():
    made = tables([("ann", "tea", 3)], [])
    (row,) = compute_user_table(*made, CONFIG).to_pylist()
    assert row["user_events"] == 0
    assert row["user_positive_rate"] == 0.5
    assert row["user_category_share"] is None
    assert compute_item_table(made[0].slice(0, 0), made[1], CONFIG).num_rows == 0


def test_columns_that_a_catalogue_lacks_are_missing():
    rows, feedback = tables([("ann", "tea", 3)], [("ann", "tea", 1, 1.0)])

    def without(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
        return table.set_column(
            table.column_names.index(name), name, pa.nulls(table.num_rows, kind)
        )

    bare = [
        without(without(table, c.CATEGORY, pa.string()), c.PRICE, pa.float32())
        for table in (rows, feedback)
    ]
    (row,) = compute_user_table(*bare, CONFIG).to_pylist()
    assert row["user_events"] == 1
    assert [row[name] for name in ("price", "price_gap", "user_category_events")] == [None] * 3


def test_id_changes_with_the_parameters():
    assert baseline_id(CONFIG) != baseline_id(BaselineConfig(smoothing=3, recent_days=3))
    assert baseline_id(CONFIG) == baseline_id(BaselineConfig(smoothing=3, recent_days=2))
