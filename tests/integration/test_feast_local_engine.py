"""What the local engine brings online is what Feast's own does, in less memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    BatchFeatureView,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    RepoConfig,
)
from feast.infra.compute_engines.local import compute
from feast.types import Bytes, Float32, Int64, String
from feast.value_type import ValueType

from sail_features.feast_plugin.engine import local_engine
from sail_features.feast_plugin.stores import duckdb_store, sqlite_store

# Feast's word that batch feature views are new.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ENGINES = {
    "ours": {"type": f"{local_engine.__name__}.SailLocalComputeEngine"},
    "Feast's": {"type": "local"},
}
NOW = datetime(2026, 3, 1, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
FEATURES = ["plain:packed", "plain:score", "plain:renamed", "total:count", "pair:score"]


def put_source(folder: Path) -> FileSource:
    """Write rows of several times a key, with nulls, and one outside the window."""
    rows = [
        (f"u{user}", item, NOW - timedelta(hours=hour), number)
        for number, (user, item, hour) in enumerate(
            (user, user * 2, hour) for user in range(7) for hour in (1, 5, 3, 90)
        )
    ]
    table = pa.table(
        {
            "user_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "event_timestamp": pa.array([row[2] for row in rows], pa.timestamp("us", "UTC")),
            "known_at": pa.array([row[2] for row in rows], pa.timestamp("us", "UTC")),
            "packed": pa.array([bytes([row[3]]) * 9 for row in rows], pa.binary()),
            "score": pa.array([None if row[3] % 5 == 0 else row[3] for row in rows], pa.float32()),
            "raw": pa.array([f"text {row[3]}" for row in rows]),
        }
    )
    pq.write_table(table, folder / "rows.parquet")
    return FileSource(
        name="rows",
        path="rows.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="known_at",
        field_mapping={"raw": "renamed"},
    )


def count_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(count=frame["score"].notna().astype("int64"))


def serve(folder: Path, engine: dict[str, str], batch_size: int | None) -> dict[str, list[object]]:
    """Materialize three views with an engine, and return what is served of every user."""
    folder.mkdir()
    source = put_source(folder)
    store = FeatureStore(
        config=RepoConfig(
            project="engines",
            provider="local",
            registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
            offline_store={"type": f"{duckdb_store.__name__}.SailDuckDBOfflineStore"},
            online_store={
                "type": f"{sqlite_store.__name__}.SailSqliteOnlineStore",
                "path": str(folder / "online.db"),
            },
            batch_engine=engine,
            materialization={"pull_latest_features": True, "online_write_batch_size": batch_size},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    plain = [Field(name="packed", dtype=Bytes), Field(name="score", dtype=Float32)]
    plain.append(Field(name="renamed", dtype=String))
    total = BatchFeatureView(
        name="total",
        entities=[USER],
        schema=[Field(name="count", dtype=Int64)],
        source=source,
        mode="pandas",
        udf=count_rows,
        udf_string="count_rows",
        online=True,
    )
    pair = FeatureView(
        name="pair", entities=[USER, ITEM], schema=[Field(name="score", dtype=Float32)],
        source=source,
    )  # fmt: skip
    store.apply(
        [USER, ITEM, total, pair, FeatureView(name="plain", entities=[USER], schema=plain,
                                              source=source)]
    )  # fmt: skip
    store.materialize(NOW - timedelta(days=2), NOW)
    asked = [{"user_id": f"u{user}", "item_id": user * 2} for user in range(8)]
    return store.get_online_features(FEATURES, asked, full_feature_names=True).to_dict()


@pytest.mark.parametrize("batch_size", [3, None])
def test_both_engines_serve_the_same(tmp_path: Path, batch_size: int | None) -> None:
    """A view with a transformation is left to Feast's."""
    found = {
        name: serve(tmp_path / name.strip("'"), engine, batch_size)
        for name, engine in ENGINES.items()
    }
    assert found["ours"] == found["Feast's"]
    assert [len(packed) for packed in found["ours"]["plain__packed"][:7]] == [9] * 7
    assert found["ours"]["plain__packed"][7] is None
    assert found["ours"]["plain__renamed"][1] == "text 4"  # the newest, an hour ago


def test_a_view_that_is_copied_never_meets_feasts_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    whole = compute.LocalComputeEngine._materialize_one

    def watch(self: object, registry: object, task: object, **kwargs: object) -> object:
        seen.append(task.feature_view.name)  # type: ignore[attr-defined]
        return whole(self, registry, task, **kwargs)

    monkeypatch.setattr(compute.LocalComputeEngine, "_materialize_one", watch)
    serve(tmp_path / "ours", ENGINES["ours"], 3)
    assert seen == ["total"]


def test_an_error_is_the_commands_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr(sqlite_store.SailSqliteOnlineStore, "online_write_batch", fail)
    with pytest.raises(OSError, match="disk is full"):
        serve(tmp_path / "ours", ENGINES["ours"], 3)
