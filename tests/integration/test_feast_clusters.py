"""Cluster histograms through a real feature store: in training as of a row's time, and online."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore
from feast.types import Array, Float32, Int32, Int64, String
from feast_workspace import ENCODER, at, copy_repo, write, write_world

from sail_features import columns as c
from sail_features import feast_plugin as plugin
from sail_features.config import ClusterConfig, InterestConfig
from sail_features.embeddings import EmbeddingTable
from sail_features.errors import InputError
from sail_features.history import to_us
from sail_features.interests.changes import SnapshotTimes
from sail_features.interests.cluster_frame import ClusteredItems, compute_cluster_table
from sail_features.interests.global_clusters import fit_global_clusters
from sail_features.schemas import TIMESTAMP
from sail_features.tables import TableStore

FITTED = at(2)
CONFIG = InterestConfig(clusters=ClusterConfig(primary=1, secondary=2, min_tail_count=1))
VECTORS = EmbeddingTable(
    np.array(["1", "11"]), np.float16([[1, 0], [0.6, 0.8]]), ENCODER, np.zeros(2, np.int64)
)
LIKES = [("1", "11", at(0.5)), ("1", "1", at(3.5)), ("11", "1", at(2.5))]
NAMES = (c.PRIMARY_COUNTS, c.SECONDARY_CLUSTERS, c.SECONDARY_TIMES, c.LONG_TAIL_CLUSTERS)


def counted() -> pa.Table:
    """Return hourly snapshots of two users; the clusters are fitted at 2 o'clock."""
    users, items, times = zip(*LIKES, strict=True)
    likes = pa.table(
        {c.USER_ID: users, c.ITEM_ID: items, c.EVENT_TIMESTAMP: pa.array(times, TIMESTAMP)}
    )
    clusters = fit_global_clusters(
        VECTORS, np.array([9, 1]), CONFIG.clusters, trained_until_us=to_us(FITTED)
    )
    hours = SnapshotTimes(to_us(at(6)), to_us(at(1)) - to_us(at(0)))
    return compute_cluster_table(likes, ClusteredItems.assign(VECTORS, clusters), hours, CONFIG)


def write_clusters(tables: TableStore, version: str = "v1", **window: object) -> None:
    rows = counted()
    said = {
        c.ENCODER_ID: ENCODER,
        c.CLUSTER_VERSION: version,
        "trained_until": FITTED.isoformat(),
    }
    stamps = {name: [said[name]] * len(rows) for name in (c.ENCODER_ID, c.CLUSTER_VERSION)}
    columns = {name: rows[name] for name in rows.column_names} | stamps
    write(tables, "user_cluster", columns, lineage=said, **window)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Return the repository as a user applies it."""
    folder = tmp_path_factory.mktemp("clusters")
    tables = TableStore(folder / "build" / "tables")
    write_world(tables)
    write_clusters(tables)
    repo = copy_repo(folder)
    assert "user_cluster" in plugin.apply_repo(repo)
    return plugin.open_feature_store(repo)


def test_fields_are_lists_and_tags_say_where_clusters_come_from(store: FeatureStore) -> None:
    view = store.get_feature_view("user_cluster")
    level = (Array(Int32), Array(Int32), Array(Float32), Array(Int64))
    primary = (c.PRIMARY_CLUSTERS, c.PRIMARY_COUNTS, c.PRIMARY_WEIGHTS, c.PRIMARY_TIMES)
    secondary = (c.SECONDARY_CLUSTERS, c.SECONDARY_COUNTS, c.SECONDARY_WEIGHTS, c.SECONDARY_TIMES)
    assert {field.name: field.dtype for field in view.features} == {
        **dict(zip(primary, level, strict=True)),
        **dict(zip(secondary, level, strict=True)),
        c.LONG_TAIL_CLUSTERS: Array(Int32),
        c.ENCODER_ID: String,
        c.CLUSTER_VERSION: String,
    }
    assert view.tags[c.CLUSTER_VERSION] == "v1"
    assert view.tags[c.ENCODER_ID] == ENCODER
    assert view.tags["trained_until"] == FITTED.isoformat()


def test_training_rows_find_no_histogram_before_its_clusters(store: FeatureStore) -> None:
    microsecond = timedelta(microseconds=1)
    asked = [at(2) - microsecond, at(2), at(4) - microsecond, at(4)]
    entities = pd.DataFrame({c.USER_ID: "1", c.EVENT_TIMESTAMP: asked, "row": range(4)})
    joined = store.get_historical_features(
        entities,
        [f"user_cluster:{name}" for name in NAMES],
        filter_by_created_timestamp=True,
    ).to_df()
    counts = joined.sort_values("row")[c.PRIMARY_COUNTS]
    # The first like's row is of 1 o'clock, but the clusters weren't there yet.
    assert [None if found is None else list(found) for found in counts] == [None, [1], [1], [2]]


def test_online_lists_are_those_of_the_newest_row(store: FeatureStore) -> None:
    plugin.materialize(store, at(6))
    found = store.get_online_features(
        [f"user_cluster:{name}" for name in NAMES],
        [{c.USER_ID: "1"}, {c.USER_ID: "11"}, {c.USER_ID: "404"}],
    ).to_dict()
    newest = {row[c.USER_ID]: row for row in counted().to_pylist()}
    for name in NAMES:
        assert found[name] == [newest["1"][name], newest["11"][name], None]
    assert [len(lists or []) for lists in found[c.LONG_TAIL_CLUSTERS]] == [1, 0, 0]


def test_nothing_counted_is_no_view_and_no_mixture_is_served(tmp_path: Path) -> None:
    tables = TableStore(tmp_path)
    write_world(tables)
    user = plugin.user_entity(tables)
    assert plugin.user_cluster_view(tables, user) is None
    write_clusters(tables)
    write_clusters(tables, "v2", as_of=at(48), since=at(24))
    with pytest.raises(InputError, match="2 versions of the clusters: v1, v2"):
        plugin.user_cluster_view(tables, user)
    write_clusters(tables, as_of=at(48))
    with pytest.raises(InputError, match="is superseded"):
        plugin.user_cluster_view(tables, user)
