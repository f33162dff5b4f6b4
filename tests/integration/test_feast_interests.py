"""Mined interests through a real feature store: in training as of a row's time, and online."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore
from feast.types import Array, Bytes, Float32, Int32, Int64, String
from feast_workspace import at, copy_repo, write, write_world

from sail_features import columns as c
from sail_features import feast_plugin as plugin
from sail_features.config import HistoryConfig, InterestConfig
from sail_features.embeddings import EmbeddingTable
from sail_features.errors import InputError
from sail_features.history import to_us
from sail_features.interests.changes import SnapshotTimes
from sail_features.interests.frame import compute_interest_table
from sail_features.schemas import TIMESTAMP
from sail_features.tables import TableStore

VECTORS = EmbeddingTable(
    np.array(["1", "11"]), np.float16([[1, 0], [0.6, 0.8]]), "hash-v1", np.zeros(2, np.int64)
)
LIKES = [("1", "11", at(1.5)), ("1", "1", at(3.5)), ("11", "1", at(2.5))]
NAMES = (c.INTEREST_VECTORS, c.INTEREST_WEIGHTS, c.INTEREST_MEDOIDS, c.INTEREST_FEEDBACK)


def mined() -> pa.Table:
    """Return hourly snapshots of two users."""
    users, items, times = zip(*LIKES, strict=True)
    feedback = pa.table(
        {
            c.USER_ID: users,
            c.ITEM_ID: items,
            c.EVENT_TIMESTAMP: pa.array(times, TIMESTAMP),
            c.WEIGHT: pa.array([1.0] * 3, pa.float32()),
        }
    )
    hours = SnapshotTimes(to_us(at(6)), to_us(at(1)) - to_us(at(0)))
    return compute_interest_table(feedback, VECTORS, hours, InterestConfig(), HistoryConfig())


def write_interests(tables: TableStore, encoder: str = "hash-v1", **window: object) -> None:
    rows = mined()
    stamps = {c.DIM: [2] * len(rows), c.ENCODER_ID: [encoder] * len(rows)}
    columns = {name: rows[name] for name in rows.column_names}
    write(tables, "user_interest", columns | stamps, lineage={c.ENCODER_ID: encoder}, **window)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    tables = TableStore(tmp_path / "build" / "tables")
    write_world(tables)
    write_interests(tables)
    store = plugin.open_feature_store(copy_repo(tmp_path))
    user = plugin.user_entity(tables)
    store.apply([user, plugin.user_interest_view(tables, user)])
    return store


def test_fields_are_bytes_and_lists(store: FeatureStore) -> None:
    view = store.get_feature_view("user_interest")
    assert {field.name: field.dtype for field in view.features} == {
        c.INTEREST_VECTORS: Bytes,
        c.INTEREST_WEIGHTS: Array(Float32),
        c.INTEREST_MEDOIDS: Array(String),
        c.INTEREST_SIZES: Array(Int32),
        c.INTEREST_TIMES: Array(Int64),
        c.INTEREST_FEEDBACK: Array(Float32),
        c.DIM: Int32,
        c.ENCODER_ID: String,
    }
    assert view.tags[c.ENCODER_ID] == "hash-v1"


def test_training_rows_find_the_snapshot_of_their_own_time(store: FeatureStore) -> None:
    microsecond = timedelta(microseconds=1)
    asked = [("1", at(2) - microsecond), ("1", at(2)), ("1", at(4) - microsecond), ("1", at(5))]
    entities = pd.DataFrame(asked, columns=[c.USER_ID, c.EVENT_TIMESTAMP]).assign(row=range(4))
    joined = store.get_historical_features(
        entities,
        [f"user_interest:{name}" for name in NAMES],
        filter_by_created_timestamp=True,
    ).to_df()
    joined = joined.sort_values("row")
    medoids = [None if found is None else list(found) for found in joined[c.INTEREST_MEDOIDS]]
    assert medoids == [None, ["11"], ["11"], ["1", "11"]]
    packed = joined[c.INTEREST_VECTORS].iloc[3]
    assert packed == VECTORS.vectors.astype("<f2").tobytes()


def test_online_bytes_are_those_of_the_newest_snapshot(store: FeatureStore) -> None:
    plugin.materialize(store, at(6))
    found = store.get_online_features(
        [f"user_interest:{name}" for name in NAMES],
        [{c.USER_ID: "1"}, {c.USER_ID: "11"}, {c.USER_ID: "404"}],
    ).to_dict()
    newest = {row[c.USER_ID]: row for row in mined().to_pylist()}
    for name in NAMES:
        assert found[name] == [newest["1"][name], newest["11"][name], None]


def test_nothing_mined_is_no_view_and_no_mixture_is_served(tmp_path: Path) -> None:
    tables = TableStore(tmp_path)
    write_world(tables)
    user = plugin.user_entity(tables)
    assert plugin.user_interest_view(tables, user) is None
    write_interests(tables)
    write_interests(tables, "hash-v2", as_of=at(48), since=at(24))
    with pytest.raises(InputError, match="2 encoders: hash-v1, hash-v2"):
        plugin.user_interest_view(tables, user)
    write_interests(tables, as_of=at(48))
    with pytest.raises(InputError, match="is superseded"):
        plugin.user_interest_view(tables, user)
