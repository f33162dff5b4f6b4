"""The feature repository that `online.py` asks: ours, and the same view on arrays of floats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureView, Field, FileSource, OnDemandFeatureView, RequestSource
from feast.types import Array, Float32, Int64

from sail_features import feast_plugin as plugin
from sail_features.config import HistoryConfig, MatchConfig
from sail_features.embeddings import EmbeddingTable, normalise, pack_column
from sail_features.feast_plugin.match_definition import MatchDefinition
from sail_features.history import HistoryWindow, to_us
from sail_features.match.events import sort_history
from sail_features.match.family import build_features, columns_of, feature_set_id
from sail_features.match.kernel import compute_match
from sail_features.match.sorted_rows import MatchRows
from sail_features.schemas import TABLES, TIMESTAMP, conform
from sail_features.tables import TableStore

USERS, ITEMS, DIM, EVENTS, CANDIDATES = 500, 20_000, 384, 50, 100
ENCODER: Final = "synthetic-384"
AS_OF: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
NAMES: Final = columns_of(build_features(MatchConfig()))
FEATURE_STORE: Final = """\
project: online
provider: local
registry: {registry_type: sql, path: "sqlite:///registry.db"}
offline_store:
  type: sail_features.feast_plugin.stores.duckdb_store.SailDuckDBOfflineStore
online_store:
  type: sail_features.feast_plugin.stores.sqlite_store.SailSqliteOnlineStore
  path: online.db
entity_key_serialization_version: 3
materialization: {pull_latest_features: true, online_write_batch_size: 10000}
"""


def build_repo(folder: Path) -> Path:
    """Write tables and views, and materialise all of them."""
    rng = np.random.default_rng(0)
    tables = TableStore(folder / "tables")
    vectors = normalise(rng.normal(size=(ITEMS, DIM))).astype(np.float16)
    history = rng.integers(0, ITEMS, (USERS, EVENTS))
    _write(tables, "user_history", _histories(history))
    static_artifacts = Path(__file__).parents[1] / "feature_repo" / "static_artifacts.py"
    (folder / "static_artifacts.py").write_bytes(static_artifacts.read_bytes())
    (folder / "feature_store.yaml").write_text(FEATURE_STORE, encoding="utf-8")
    store = plugin.open_feature_store(folder)
    _write(tables, "item_embedding", _embeddings(vectors))
    _write_match(tables)
    user, item = plugin.user_entity(tables), plugin.item_entity(tables)
    embedding = plugin.item_embedding_view(tables, item)
    past = plugin.user_history_view(tables, user)
    view = plugin.on_demand_match_view(tables, past, embedding)
    _write_plain(folder, vectors, history)
    price = _view(folder, "item_price", item, [Field(name="price", dtype=Float32)])
    item_array = _view(folder, "item_array", item, [Field(name="vector", dtype=Array(Float32))])
    user_array = _view(folder, "user_array", user, [Field(name="vectors", dtype=Array(Float32))])
    on_arrays = _on_arrays(past, item_array, user_array)
    served = plugin.ranker_service("ranker_online", [view], description="Ours.")
    compared = plugin.ranker_service("ranker_arrays", [on_arrays], description="On arrays.")
    views = [embedding, past, price, item_array, user_array, view, on_arrays]
    store.apply([user, item, *views, served, compared])
    plugin.materialize(store, AS_OF)
    return folder


def match_definition(repo: Path) -> MatchDefinition:
    """Return what the repository serves."""
    definition = MatchDefinition.of_newest(TableStore(repo / "tables"))
    if definition is None:
        raise RuntimeError("the match table states no definition")
    return definition


def _write(tables: TableStore, name: str, columns: dict[str, Any], **manifest: Any) -> None:
    rows = len(next(iter(columns.values())))
    stamp = pa.array([AS_OF - timedelta(hours=1)] * rows, TIMESTAMP)
    stamps = dict.fromkeys(("event_timestamp", "available_at", "created"), stamp)
    config = manifest.pop("config", {})
    with tables.replace_partition(name, AS_OF, config=config) as partition:
        partition.lineage.update(encoder_id=ENCODER, **manifest)
        partition.write(conform(pa.table({**stamps, **columns}), TABLES[name]))


def _embeddings(vectors: np.ndarray) -> dict[str, Any]:
    return {
        "item_id": np.arange(len(vectors)),
        "embedding": pack_column(vectors),
        "dim": [DIM] * len(vectors),
        "encoder_id": [ENCODER] * len(vectors),
        "content_hash": [f"{item:064x}" for item in range(len(vectors))],
    }


def _histories(history: np.ndarray) -> dict[str, Any]:
    """Return one event an hour and user, the last two hours before the row's time."""
    times = to_us(AS_OF) - 3_600_000_000 * np.arange(EVENTS + 2, 2, -1)
    offsets = np.arange(0, history.size + 1, EVENTS, dtype=np.int32)
    weights = np.tile(np.float32([1, 1, -0.5, 0, 1]), history.size // 5)

    def listed(values: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))

    return {
        "user_id": np.arange(len(history)),
        "history_item_ids": listed(history),
        "history_times": listed(np.tile(times, len(history))),
        "history_weights": listed(weights),
    }


def _write_match(tables: TableStore) -> None:
    """Write one row of the batch table, for its columns and its lineage."""
    features = build_features(MatchConfig())
    columns: dict[str, Any] = {"user_id": [0], "item_id": [0], "encoder_id": [ENCODER]}
    for name in ("features_available_at", "feature_time"):
        columns[name] = pa.array([AS_OF - timedelta(hours=2)], TIMESTAMP)
    columns["feature_set_id"] = [feature_set_id(features)]
    columns |= {name: pa.array([0.0], pa.float32()) for name in NAMES}
    _write(
        tables,
        "user_item_match",
        columns,
        config={
            "history": HistoryConfig().model_dump(mode="json"),
            "match": MatchConfig().model_dump(mode="json"),
        },
        feature_set_id=feature_set_id(features),
        features={feature.name: feature.version for feature in features},
        histogram_edges=None,
    )


def _write_plain(folder: Path, vectors: np.ndarray, history: np.ndarray) -> None:
    """Write the same vectors as lists of floats, a user's end to end, and a scalar an item."""

    def write(name: str, key: str, feature: str, values: pa.Array) -> None:
        stamp = pa.array([AS_OF - timedelta(hours=1)] * len(values), TIMESTAMP)
        columns = {key: np.arange(len(values)), feature: values, "event_timestamp": stamp}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")

    def listed(rows: np.ndarray) -> pa.Array:
        offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, pa.array(rows.ravel().astype(np.float32)))

    write("item_price", "item_id", "price", pa.array(np.ones(len(vectors), np.float32)))
    write("item_array", "item_id", "vector", listed(vectors))
    write("user_array", "user_id", "vectors", listed(vectors[history].reshape(len(history), -1)))


def _view(folder: Path, name: str, entity: Entity, schema: list[Field]) -> FeatureView:
    source = FileSource(
        name=name, path=str(folder / f"{name}.parquet"), timestamp_field="event_timestamp"
    )
    return FeatureView(name=name, entities=[entity], schema=schema, source=source, ttl=timedelta(0))


def _on_arrays(past: FeatureView, item: FeatureView, user: FeatureView) -> OnDemandFeatureView:
    """Return the view as one writes it without bytes or a table: its vectors are features."""
    return OnDemandFeatureView(
        name="match_on_arrays",
        sources=[
            past[["history_times", "history_weights"]],
            item,
            user,
            RequestSource(name="asked", schema=[Field(name="requested_at", dtype=Int64)]),
        ],
        schema=[Field(name=f"a_{name}", dtype=Float32) for name in NAMES],
        mode="python",
        udf=match_on_arrays,
        udf_string=ARRAY_SOURCE,
    )


def match_on_arrays(request: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Compute the same features by the same kernel, the vectors taken from the request."""
    features = build_features(MatchConfig())
    names = [f"a_{name}" for name in columns_of(features)]
    rows = len(request["vector"])
    if len(request["vector"][0]) < 2:  # Feast's rehearsal
        return {name: [np.float32(np.nan)] * rows for name in names}
    past = np.array(request["vectors"][0], np.float32).reshape(-1, len(request["vector"][0]))
    events = len(past)
    vectors = np.concatenate([past, np.array(request["vector"], np.float32)])
    table = EmbeddingTable(np.arange(len(vectors)), vectors, "", np.zeros(len(vectors), np.int64))
    log = sort_history(
        np.zeros(events, np.int64),
        np.arange(events),
        np.array(request["history_times"][0]),
        np.array(request["history_weights"][0], np.float32),
        np.arange(events),
    )
    asked = MatchRows(
        np.zeros(rows, np.int64),
        np.arange(events, events + rows),
        np.array(request["requested_at"]),
    )
    window = HistoryWindow(timedelta(days=365), 100)
    values = compute_match(asked, log, table, features, window).values
    return {name: list(column) for name, column in zip(names, values.T, strict=True)}


ARRAY_SOURCE: Final = """\
def match_on_arrays(request):
    from benchmarks.online_repo import match_on_arrays

    return match_on_arrays(request)
"""
