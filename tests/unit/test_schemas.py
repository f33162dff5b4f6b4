"""Tables against their schemas: each bad input has its own message."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import worlds
from worlds import at

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.schemas import (
    EVENTS,
    IMPRESSIONS,
    ITEMS,
    TABLES,
    TIMESTAMP,
    USER_HISTORY,
    check_not_in_future,
    check_table,
    conform,
)


def replace(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


@pytest.fixture
def items() -> pa.Table:
    return worlds.items([("tea", at(1), "green tea"), ("mug", at(2), None)])


@pytest.fixture
def events() -> pa.Table:
    return worlds.events([("ann", "tea", at(3), 1.0), ("ann", "tea", at(3), 1.0)])


def test_good_tables_pass(items, events):
    check_table(items, ITEMS, where="items.csv")
    check_table(events, EVENTS, where="events.csv")
    check_table(worlds.impressions([("ann", "tea", at(4), 1)]), IMPRESSIONS, where="log")


def test_empty_table(items):
    with pytest.raises(InputError, match=r"items.csv: the table has no rows"):
        check_table(items.slice(0, 0), ITEMS, where="items.csv")


def test_missing_column_names_those_that_exist(items):
    renamed = items.rename_columns(["sku", *items.column_names[1:]])
    with pytest.raises(InputError, match=r"no column 'item_id'; it has sku, event_timestamp, text"):
        check_table(renamed, ITEMS, where="items.csv")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (c.ITEM_ID, pa.array([1.5, 2.5]), "'item_id' is double, expected a string or a 64-bit"),
        (c.ITEM_ID, pa.array([1, 2], pa.int32()), "'item_id' is int32"),
        (c.EVENT_TIMESTAMP, pa.array(["2024", "2025"]), "is string, expected a timestamp with a"),
        (c.TEXT, pa.array([1, 2]), "'text' is int64, expected a string"),
    ],
)
def test_mistyped_column_says_what_was_found_and_expected(items, name, values, message):
    with pytest.raises(InputError, match=message):
        check_table(replace(items, name, values), ITEMS, where="items.csv")


def test_times_without_a_zone_have_their_own_hint(items):
    naive = items[c.EVENT_TIMESTAMP].cast(pa.timestamp("us"))
    with pytest.raises(InputError, match=r"without a time zone[\s\S]*Hint: set `timezone:`"):
        check_table(replace(items, c.EVENT_TIMESTAMP, naive), ITEMS, where="items.csv")


def test_null_in_a_column_that_may_have_none(items):
    ids = pa.array(["tea", None])
    with pytest.raises(InputError, match=r"'item_id' is null or not finite in 1 of 2 rows"):
        check_table(replace(items, c.ITEM_ID, ids), ITEMS, where="items.csv")


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf])
def test_weight_that_is_no_number_is_missing(events, weight):
    weights = pa.array([1.0, weight], pa.float32())
    with pytest.raises(InputError, match=r"'weight' is null or not finite in 1 of 2 rows"):
        check_table(replace(events, c.WEIGHT, weights), EVENTS, where="events.csv")


def test_price_may_be_missing(items):
    priced = items.append_column(c.PRICE, pa.array([np.nan, None], pa.float64()))
    check_table(priced, ITEMS, where="items.csv")


def test_duplicate_keys_are_shown_five_at_most():
    twice = worlds.items([(f"i{row % 7}", at(row), "x") for row in range(14)])
    with pytest.raises(InputError, match=r"7 keys \(item_id\) occur more than once: .* and 2 more"):
        check_table(twice, ITEMS, where="items.csv")


def test_events_may_repeat_and_impressions_may_not(events):
    check_table(events, EVENTS, where="events.csv")
    twice = worlds.impressions([("ann", "tea", at(4), 1)])
    with pytest.raises(InputError, match="occur more than once"):
        check_table(pa.concat_tables([twice, twice]), IMPRESSIONS, where="log")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/London"])
def test_future_is_found_in_any_unit_and_zone(unit, zone):
    times = pa.array([at(1), at(9)], TIMESTAMP).cast(pa.timestamp(unit, zone))
    table = pa.table({c.EVENT_TIMESTAMP: times})
    check_not_in_future(table, c.EVENT_TIMESTAMP, now=at(9), where="log")
    with pytest.raises(InputError, match=r"1 rows of 'event_timestamp' lie after 2024-03-06"):
        check_not_in_future(table, c.EVENT_TIMESTAMP, now=at(5), where="log")


def test_conform_keeps_ids_and_unknown_columns_and_orders_the_known_ones():
    table = pa.table(
        {
            "colour": ["red"],
            c.LABEL: pa.array([1], pa.int64()),
            c.EVENT_TIMESTAMP: pa.array([at(1)], pa.timestamp("ms", "Asia/Tokyo")),
            c.ITEM_ID: pa.array([2**60], pa.int64()),
            c.USER_ID: pa.array(["ann"], pa.large_string()),
            c.REQUEST_ID: ["r"],
        }
    )
    written = conform(table, IMPRESSIONS)
    assert written.column_names == [
        c.REQUEST_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.LABEL, "colour",
    ]  # fmt: skip
    assert written.schema.field(c.ITEM_ID).type == pa.int64()
    assert written.schema.field(c.USER_ID).type == pa.string()
    assert written.schema.field(c.LABEL).type == pa.int32()
    assert written.schema.field(c.EVENT_TIMESTAMP).type == TIMESTAMP
    assert written.to_pylist()[0][c.EVENT_TIMESTAMP] == at(1)


def test_conform_cuts_nanoseconds():
    times = pa.array(pd.DatetimeIndex(["2024-03-01T00:00:00.000001999Z"]))
    table = pa.table({c.ITEM_ID: ["a"], c.EVENT_TIMESTAMP: times})
    assert conform(table, ITEMS)[c.EVENT_TIMESTAMP][0].as_py() == at(0, 1)


def test_conform_keeps_the_ids_in_lists():
    table = pa.table({c.USER_ID: [7], c.HISTORY_ITEM_IDS: [[1, 2]]})
    assert conform(table, USER_HISTORY).schema.field(c.HISTORY_ITEM_IDS).type == pa.list_(
        pa.int64()
    )


def test_every_published_table_but_events_has_a_key_of_its_own_columns():
    for schema in TABLES.values():
        assert set(schema.key) <= set(schema.names())
        assert bool(schema.key) == (schema is not EVENTS)
