"""The clusters job: nights one after the other, one run over everything, and the numpy path."""

from __future__ import annotations

import shutil
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import worlds
from worlds import CONFIG, at

from sail_features import columns as c
from sail_features.config import ClusterConfig, InterestConfig
from sail_features.embeddings import normalise, pack_column
from sail_features.encoders.catalogue import build_encoder
from sail_features.errors import InputError
from sail_features.history import to_us
from sail_features.interests.changes import SnapshotTimes
from sail_features.interests.cluster_frame import ClusteredItems, compute_cluster_table
from sail_features.interests.global_clusters import fit_global_clusters
from sail_features.item_vectors import build_embedding_table
from sail_features.schemas import ITEM_EMBEDDING, TIMESTAMP, USER_CLUSTER, check_table, conform
from sail_features.spark.clusters import run_clusters
from sail_features.tables import TableStore

ENCODER = build_encoder(CONFIG.encoder).encoder_id
COUNTED = CONFIG.model_copy(
    update={
        "interests": InterestConfig(
            lookback_days=9,
            clusters=ClusterConfig(
                primary=2, secondary=5, max_events=8, tail_share=0.5, min_tail_count=2
            ),
        )
    }
)
FITTED = at(6)
ENDS = (at(8), at(9), at(12))
STAMPS = (c.USER_ID, c.EVENT_TIMESTAMP, c.AVAILABLE_AT, c.CREATED)


def write_embeddings(store, world, since, end):
    """Write vectors of the contents of [since, end): an item a day, and the first one anew."""
    ids = world.items[c.ITEM_ID].to_pylist()
    first = -len(ids) // 2 if since is None else (since - at(0)).days
    days = range(first, (end - at(0)).days)
    known = [ids[day % len(ids)] for day in days]
    vectors = normalise(np.random.default_rng(1).standard_normal((100, 8)))
    times = pa.array([at(day) for day in days], TIMESTAMP)
    columns = {
        c.ITEM_ID: pa.array(known, world.items.schema.field(c.ITEM_ID).type),
        c.EVENT_TIMESTAMP: times,
        c.AVAILABLE_AT: times,
        c.CREATED: times,
        c.EMBEDDING: pack_column(vectors[[day + 50 for day in days]]),
        c.DIM: [8] * len(known),
        c.ENCODER_ID: [ENCODER] * len(known),
        c.CONTENT_HASH: [f"content of {day}" for day in days],
    }
    table = conform(pa.table(columns), ITEM_EMBEDDING)
    worlds.publish(store, ITEM_EMBEDDING.name, table, as_of=end, since=since)


def write_night(store, world, since, end):
    events = world.events.filter(pc.less(world.events[c.EVENT_TIMESTAMP], end))
    if since is not None:
        events = events.filter(pc.greater_equal(events[c.EVENT_TIMESTAMP], since))
    worlds.publish(store, "events", events, as_of=end, since=since)
    write_embeddings(store, world, since, end)


def true_rows(world, store, as_of):
    """Return the rows of one run over everything by the numpy path alone."""
    rows = store.read(ITEM_EMBEDDING.name, as_of)
    early = rows.filter(pc.less(rows[c.AVAILABLE_AT], FITTED))
    liked = world.events.filter(pc.greater(world.events[c.WEIGHT], 0))
    before = liked.filter(pc.less(liked[c.EVENT_TIMESTAMP], FITTED))[c.ITEM_ID].to_pylist()
    known = build_embedding_table(early, ENCODER)
    likes = np.array([before.count(item) for item in known.ids.tolist()])
    settings = COUNTED.interests
    clusters = fit_global_clusters(known, likes, settings.clusters, trained_until_us=to_us(FITTED))
    items = ClusteredItems.assign(build_embedding_table(rows, ENCODER), clusters)
    found = compute_cluster_table(liked, items, SnapshotTimes(to_us(as_of)), settings)
    return clusters.version, standing(found)


def standing(table):
    """Return the newest row of each user; when it was taken and known aside."""
    rows = sorted(table.to_pylist(), key=lambda row: row[c.EVENT_TIMESTAMP])
    left_out = {*STAMPS, c.ENCODER_ID, c.CLUSTER_VERSION}
    held = {
        row[c.USER_ID]: {name: value for name, value in row.items() if name not in left_out}
        for row in rows
    }
    return {user: row for user, row in held.items() if row[c.SECONDARY_CLUSTERS]}


@pytest.mark.parametrize("ids", [str, int])
def test_nights_are_one_run_are_numpy_and_keep_their_clusters(spark, tmp_path, ids):
    world = worlds.random_world(3, ids=ids, shown=300)
    store = TableStore(tmp_path)
    since = None
    for end in ENDS:
        write_night(store, world, since, end)
        first = FITTED if since is None else None
        run_clusters(spark, store, COUNTED, as_of=end, since=since, fit_until=first)
        since = end
        # What is kept beside the tables may go: it is made again, the same.
        shutil.rmtree(store.root / "_derived")
    version, expected = true_rows(world, store, ENDS[-1])
    nights = store.read(USER_CLUSTER.name)
    check_table(nights, USER_CLUSTER, where="clusters")
    assert standing(nights) == expected
    assert any(row[c.LONG_TAIL_CLUSTERS] for row in expected.values())
    assert pc.unique(nights[c.CLUSTER_VERSION]).to_pylist() == [version]
    assert pc.min(nights[c.AVAILABLE_AT]).as_py() >= ENDS[0]
    whole = run_clusters(spark, store, COUNTED, as_of=ENDS[-1], every=timedelta(days=1))
    assert standing(store.read(USER_CLUSTER.name)) == expected
    assert whole.lineage["trained_until"] == FITTED.isoformat()
    assert pc.min(store.read(USER_CLUSTER.name)[c.AVAILABLE_AT]).as_py() == FITTED
    with pytest.raises(InputError, match="would change the clusters"):
        run_clusters(spark, store, COUNTED, as_of=ENDS[-1], since=ENDS[1], fit_until=FITTED)


def test_other_clusters_than_those_of_earlier_rows_are_refused(spark, store):
    world = worlds.random_world(3, shown=100)
    write_night(store, world, None, ENDS[0])
    with pytest.raises(InputError, match="is after --as-of"):
        run_clusters(spark, store, COUNTED, as_of=ENDS[0], fit_until=ENDS[1])
    with pytest.raises(InputError, match="5 secondary clusters of 2 items"):
        run_clusters(spark, store, COUNTED, as_of=ENDS[0], fit_until=at(-7.5))
    manifest = run_clusters(spark, store, COUNTED, as_of=ENDS[0])
    assert manifest.lineage["trained_until"] == ENDS[0].isoformat()
    write_night(store, world, ENDS[0], ENDS[1])
    wider = COUNTED.model_copy(
        update={"interests": COUNTED.interests.model_copy(update={"clusters": ClusterConfig()})}
    )
    with pytest.raises(InputError, match="made with other settings"):
        run_clusters(spark, store, wider, as_of=ENDS[1], since=ENDS[0])
    shutil.rmtree(store.root / "_derived")
    worlds.publish(store, "events", world.events.slice(50), as_of=ENDS[0])
    with pytest.raises(InputError, match="fitted again they are others"):
        run_clusters(spark, store, COUNTED, as_of=ENDS[1])
