"""The interests job against the numpy path, and a chain of days against one run."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import worlds
from worlds import AS_OF, CONFIG, World, at

from sail_features import columns as c
from sail_features.config import InterestConfig
from sail_features.errors import InputError, MissingTableError
from sail_features.history import to_us
from sail_features.interests.changes import SnapshotTimes
from sail_features.interests.frame import compute_interest_table
from sail_features.item_vectors import build_embedding_table
from sail_features.schemas import USER_INTEREST, check_table
from sail_features.spark.encode import run_encode
from sail_features.spark.interests import run_interests
from sail_features.tables import TableStore

DAY = timedelta(days=1)
MINED = CONFIG.model_copy(
    update={"interests": InterestConfig(lookback_days=9, max_events=5, max_interests=2)}
)
VALUES = (
    c.AVAILABLE_AT,
    c.INTEREST_VECTORS,
    c.INTEREST_WEIGHTS,
    c.INTEREST_MEDOIDS,
    c.INTEREST_SIZES,
    c.INTEREST_TIMES,
    c.INTEREST_FEEDBACK,
)


def with_buckets(count):
    return MINED.model_copy(update={"spark": worlds.with_buckets(count).spark})


def snapshots(table):
    """Return the mined values by (user, moment), in words that compare NaN as equal."""
    return {
        (row[c.USER_ID], row[c.EVENT_TIMESTAMP]): repr([row[name] for name in VALUES])
        for row in table.to_pylist()
    }


def standing(table, moment):
    """Return what holds of each user at a moment: the newest row no later than it."""
    rows = sorted(table.to_pylist(), key=lambda row: row[c.EVENT_TIMESTAMP])
    held = {row[c.USER_ID]: row for row in rows if row[c.EVENT_TIMESTAMP] <= moment}
    return {
        user: repr([row[name] for name in VALUES if name != c.AVAILABLE_AT])
        for user, row in held.items()
        if row[c.INTEREST_SIZES]
    }


@pytest.fixture(scope="module", params=[(str, 0), (int, 1)], ids=["string ids", "integer ids"])
def world(request) -> World:
    ids, seed = request.param
    return worlds.random_world(seed, ids=ids)


@pytest.fixture(scope="module")
def encoded(spark, world, tmp_path_factory) -> TableStore:
    store = TableStore(tmp_path_factory.mktemp("interests"))
    world.publish(store)
    run_encode(spark, store, MINED, as_of=AS_OF)
    return store


def test_spark_and_numpy_agree_under_any_buckets(spark, world, encoded):
    vectors = build_embedding_table(encoded.read("item_embedding"), "hash-v1-32")
    told = worlds.true_feedback(world, MINED.history)
    feedback = worlds.pair_table(told, world.items.schema.field(c.ITEM_ID).type)
    times = SnapshotTimes(to_us(AS_OF), DAY // timedelta(microseconds=1))
    straight = compute_interest_table(feedback, vectors, times, MINED.interests, MINED.history)
    expected = snapshots(straight)
    assert len(expected) > 50
    for buckets in (1, 2, 16):
        manifest = run_interests(spark, encoded, with_buckets(buckets), as_of=AS_OF, every=DAY)
        table = encoded.read("user_interest")
        assert snapshots(table) == expected
        assert manifest.rows == table.num_rows


def test_rows_carry_their_times_and_lineage(spark, encoded):
    manifest = run_interests(spark, encoded, MINED, as_of=AS_OF, every=DAY)
    table = encoded.read("user_interest")
    check_table(table, USER_INTEREST, where="interests")
    assert manifest.lineage["algorithm"] == "ward"
    assert manifest.lineage["encoder_id"] == "hash-v1-32"
    assert manifest.lineage["every_s"] == 86_400
    for row in table.to_pylist():
        count = len(row[c.INTEREST_WEIGHTS])
        assert len(row[c.INTEREST_VECTORS]) == 2 * row[c.DIM] * count
        assert row[c.AVAILABLE_AT] >= row[c.EVENT_TIMESTAMP]
        assert (row[c.EVENT_TIMESTAMP] - AS_OF) % DAY == timedelta(0)
        assert max(row[c.INTEREST_TIMES], default=0) < to_us(row[c.EVENT_TIMESTAMP])


def test_running_again_writes_the_same_bytes(spark, encoded):
    first = run_interests(spark, encoded, MINED, as_of=AS_OF)
    again = run_interests(spark, encoded, MINED, as_of=AS_OF)
    assert (again.fingerprint, again.created) == (first.fingerprint, first.created)


def before(table, end):
    return table.filter(pc.less(table[c.EVENT_TIMESTAMP], end))


def published_by_day(spark, world, store, ends):
    """Import, encode and mine a day at a time; the catalogue's last items come late."""
    since = None
    for place, end in enumerate(ends):
        # A third of the catalogue is there on the first day, the rest comes later.
        count = min(world.items.num_rows, (place + 1) * world.items.num_rows // 3)
        items = world.items.slice(0, count)
        worlds.publish(store, "items", items, as_of=end)
        for name in ("events", "impressions"):
            table = before(getattr(world, name), end)
            if since is not None:
                table = table.filter(pc.greater_equal(table[c.EVENT_TIMESTAMP], since))
            worlds.publish(store, name, table, as_of=end, since=since)
        run_encode(spark, store, MINED, as_of=end)
        run_interests(spark, store, MINED, as_of=end, since=since)
        since = end


@pytest.mark.parametrize("ids", [str, int])
def test_days_one_after_the_other_give_what_one_run_over_everything_gives(spark, tmp_path, ids):
    world = worlds.random_world(3, ids=ids, shown=400)
    ends = [at(day) for day in (6, 7, 8, 12)]
    chain = TableStore(tmp_path / "chain")
    published_by_day(spark, world, chain, ends)
    rows = [manifest.rows for manifest in chain.manifests("user_interest")]
    whole = TableStore(tmp_path / "whole")
    World(world.items, before(world.events, ends[-1]), before(world.impressions, ends[-1])).publish(
        whole, ends[-1]
    )
    run_encode(spark, whole, MINED, as_of=ends[-1])
    full = run_interests(spark, whole, MINED, as_of=ends[-1])
    found = standing(chain.read("user_interest"), ends[-1])
    assert found == standing(whole.read("user_interest"), ends[-1])
    assert len(found) == full.rows > 5
    assert len(rows) == len(ends)


def test_later_events_change_no_earlier_snapshot(spark, world, encoded, tmp_path):
    end = at(10)
    run_interests(spark, encoded, MINED, as_of=AS_OF, every=DAY)
    known = {
        key: value
        for key, value in snapshots(encoded.read("user_interest")).items()
        if key[1] <= end
    }
    poisoned = TableStore(tmp_path / "poisoned")
    late = world.events.filter(pc.greater_equal(world.events[c.EVENT_TIMESTAMP], end))
    flipped = late.set_column(
        late.column_names.index(c.WEIGHT), c.WEIGHT, pc.subtract(1, late[c.WEIGHT]).cast("float")
    )
    early = before(world.events, end)
    events = pa.concat_tables([early, flipped])
    World(world.items, events, before(world.impressions, end)).publish(poisoned)
    run_encode(spark, poisoned, MINED, as_of=AS_OF)
    run_interests(spark, poisoned, MINED, as_of=AS_OF, every=DAY)
    found = snapshots(poisoned.read("user_interest"))
    assert {key: value for key, value in found.items() if key[1] <= end} == known
    assert known


def test_going_on_is_refused_where_the_past_differs(spark, encoded, tmp_path, world):
    store = TableStore(tmp_path / "tables")
    for name in ("events", "impressions"):
        worlds.publish(store, name, getattr(world, name), as_of=at(10))
    worlds.publish(store, "items", world.items, as_of=at(10))
    run_encode(spark, store, MINED, as_of=at(10))
    with pytest.raises(InputError, match="no snapshots end there; those that exist end at nowhere"):
        run_interests(spark, store, MINED, as_of=AS_OF, since=at(10))
    run_interests(spark, store, MINED, as_of=at(10))
    with pytest.raises(InputError, match="isn't before --as-of"):
        run_interests(spark, store, MINED, as_of=at(10), since=at(10))
    other = MINED.model_copy(update={"interests": InterestConfig(max_interests=3)})
    with pytest.raises(InputError, match="other settings"):
        run_interests(spark, store, other, as_of=AS_OF, since=at(10))
    worlds.publish(store, "events", world.events, as_of=at(10))
    worlds.publish(store, "events", world.events.slice(3), as_of=at(11))
    with pytest.raises(InputError, match=r"events of before then were written again[\s\S]*without"):
        run_interests(spark, store, MINED, as_of=AS_OF, since=at(10))


def test_nothing_encoded_names_the_command(spark, store, world):
    world.publish(store)
    with pytest.raises(MissingTableError, match="sail-features encode"):
        run_interests(spark, store, MINED, as_of=AS_OF)


@pytest.mark.parametrize("algorithm", ["kmeans", "leader"])
def test_every_algorithm_runs_in_the_job(spark, encoded, algorithm):
    config = MINED.model_copy(
        update={"interests": MINED.interests.model_copy(update={"algorithm": algorithm})}
    )
    manifest = run_interests(spark, encoded, config, as_of=AS_OF)
    weights = encoded.read("user_interest")[c.INTEREST_WEIGHTS].to_pylist()
    assert manifest.lineage["algorithm"] == algorithm
    np.testing.assert_allclose([sum(shares) for shares in weights if shares], 1, rtol=1e-6)
