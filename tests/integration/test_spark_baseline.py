"""The baseline job against the numpy path, row by row, whatever the buckets."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import worlds
from worlds import AS_OF, CONFIG, at

from sail_features import columns as c
from sail_features.baseline.features import ITEM_COLUMNS, USER_COLUMNS
from sail_features.baseline.frame import (
    ITEM_TIME,
    NEWEST,
    compute_item_table,
    compute_user_table,
)
from sail_features.history import to_us
from sail_features.schemas import TIMESTAMP, USER_ITEM_BASELINE, check_table
from sail_features.spark.baseline import run_baseline
from sail_features.testing.oracles import US_PER_DAY, naive_running_counts


def with_attributes(pairs, world):
    """Return rows or feedback with the attributes of their items, as a task gets them."""
    known = {row[c.ITEM_ID]: row for row in world.items.to_pylist()}
    items = [known[pair[1]] for pair in pairs]
    table = worlds.pair_table(pairs, world.items.schema.field(c.ITEM_ID).type)
    for name, source, kind in (
        (c.CATEGORY, c.CATEGORY, pa.string()),
        (c.PRICE, c.PRICE, pa.float32()),
        (ITEM_TIME, c.EVENT_TIMESTAMP, TIMESTAMP),
    ):
        table = table.append_column(name, pa.array([item[source] for item in items], kind))
    return table


def numpy_rows(world):
    """Return each row's columns and newest event, computed without Spark."""
    rows = with_attributes(worlds.true_pairs(world, CONFIG.history), world)
    feedback = with_attributes(worlds.true_feedback(world, CONFIG.history), world)
    by_user, by_item = (
        worlds.rows_by_pair(compute(rows, feedback, CONFIG.baseline))
        for compute in (compute_user_table, compute_item_table)
    )
    for pair, row in by_user.items():
        newest = [part[NEWEST] for part in (row, by_item[pair]) if part[NEWEST] is not None]
        row.update(by_item[pair])
        row[NEWEST] = max(newest, default=None)
    return by_user


def assert_rows_equal(found, expected):
    assert found.keys() == expected.keys()
    for pair, row in expected.items():
        for name in (*USER_COLUMNS, *ITEM_COLUMNS):
            assert found[pair][name] == pytest.approx(row[name], nan_ok=True), (pair, name)
        assert found[pair][c.FEATURE_TIME] == row[NEWEST]
        assert row[NEWEST] is None or row[NEWEST] < found[pair][c.EVENT_TIMESTAMP]


@pytest.mark.parametrize(("ids", "seed"), [(str, 0), (int, 1)])
def test_rows_are_those_of_the_numpy_path_under_any_buckets(spark, store, ids, seed):
    world = worlds.random_world(seed, ids=ids)
    world.publish(store)
    expected = numpy_rows(world)
    for buckets in (1, 2, 16) if ids is str else (3,):
        manifest = run_baseline(spark, store, worlds.with_buckets(buckets), as_of=AS_OF)
        table = store.read("user_item_baseline")
        check_table(table, USER_ITEM_BASELINE, where="baseline")
        assert_rows_equal(worlds.rows_by_pair(table), expected)
        assert set(table[c.FEATURE_SET_ID].to_pylist()) == {manifest.lineage["feature_set_id"]}
    again = run_baseline(spark, store, worlds.with_buckets(buckets), as_of=AS_OF)
    assert (again.fingerprint, again.created) == (manifest.fingerprint, manifest.created)


def test_user_and_item_counts_are_those_of_a_loop(spark, store):
    """Once more without the numpy path: events at or after a row's moment don't count."""
    world = worlds.random_world(3)
    world.publish(store)
    run_baseline(spark, store, CONFIG, as_of=AS_OF)
    told = worlds.true_feedback(world, CONFIG.history)
    found = worlds.rows_by_pair(store.read("user_item_baseline"))
    assert len(found) > 100
    for pair, row in found.items():
        for owner, mine in (
            ("user", [e for e in told if e.user == pair.user]),
            ("item", [e for e in told if e.item == pair.item]),
        ):
            counts = naive_running_counts(
                [(event.time_us, event.weight) for event in mine],
                pair.as_of_us,
                recent_us=int(CONFIG.baseline.recent_days * US_PER_DAY),
                smoothing=CONFIG.baseline.smoothing,
            )
            assert row[f"{owner}_events"] == counts.events
            assert row[f"{owner}_recent_events"] == counts.recent
            assert row[f"{owner}_liked_events"] == counts.liked
            assert row[f"{owner}_positive_rate"] == pytest.approx(counts.positive_rate, rel=1e-5)
            since = row[f"{owner}_days_since_event"]
            assert (math.nan if since is None else since) == pytest.approx(
                counts.days_since, rel=1e-5, nan_ok=True
            )


def test_since_cuts_the_rows_and_not_the_histories(spark, store):
    world = worlds.random_world(4, shown=60)
    world.publish(store)
    run_baseline(spark, store, CONFIG, as_of=AS_OF)
    everything = worlds.rows_by_pair(store.read("user_item_baseline"))
    manifest = run_baseline(spark, store, CONFIG, as_of=AS_OF, since=at(12))
    late = worlds.rows_by_pair(store.read("user_item_baseline"))
    assert manifest.since == at(12)
    assert late.keys() == {
        pair for pair in everything if pair.as_of_us >= to_us(at(12)) - CONFIG.history.lag_s * 1e6
    }
    for pair, row in late.items():
        names = (*USER_COLUMNS, *ITEM_COLUMNS)
        values, expected = ([r[name] for name in names] for r in (row, everything[pair]))
        np.testing.assert_array_equal(np.array(values, float), np.array(expected, float))
