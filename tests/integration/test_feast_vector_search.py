"""The nearest items by the vectors that the SQLite online store holds, without a server."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Array, Bytes, FeastType, Float32, Int64
from feast.value_type import ValueType

from sail_features.embeddings import normalise
from sail_features.errors import ConfigError, InputError
from sail_features.feast_plugin import open_feature_store

CONFIG = """\
project: search
provider: local
registry: {registry_type: sql, path: "sqlite:///registry.db"}
offline_store: {type: duckdb}
online_store:
  type: sail_features.feast_plugin.stores.sqlite_store.SailSqliteOnlineStore
  path: online.db
entity_key_serialization_version: 3
"""
ITEMS, DIM = 200, 16
NOW = datetime.now(UTC)


LIST = Array(Float32)


def item_view(
    dtype: FeastType, *, metric: str | None = None, ttl: timedelta | None = None
) -> FeatureView:
    marked = metric is not None or dtype is LIST  # Feast lets no bytes be marked
    vector = Field(name="embedding", dtype=dtype, vector_index=marked, vector_search_metric=metric)
    return FeatureView(
        name="item_embedding",
        entities=[item_entity()],
        schema=[vector, Field(name="price", dtype=Int64)],
        source=FileSource(path="items.parquet", timestamp_field="event_timestamp"),
        ttl=ttl or timedelta(0),
    )


def open_empty(folder: Path, view: FeatureView) -> FeatureStore:
    (folder / "feature_store.yaml").write_text(CONFIG, encoding="utf-8")
    store = open_feature_store(folder)
    store.apply([item_entity(), view])
    return store


def item_entity() -> Entity:
    return Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)


def rows(vectors: np.ndarray, as_bytes: bool, *, first: int = 0) -> pd.DataFrame:
    ids = range(first, first + len(vectors))
    held = (
        [v.astype("<f2").tobytes() for v in vectors] if as_bytes else [v.tolist() for v in vectors]
    )
    return pd.DataFrame(
        {"item_id": ids, "embedding": held, "price": list(ids), "event_timestamp": NOW}
    )


def write(store: FeatureStore, frame: pd.DataFrame) -> None:
    store.write_to_online_store("item_embedding", frame)


def search(store: FeatureStore, query: np.ndarray, top_k: int = 10, **options: str) -> dict:
    """Return what was found, nearest first."""
    features = ["item_embedding:embedding", "item_embedding:price"]
    found = store.retrieve_online_documents_v2(
        features, top_k, query=query.tolist(), **options
    ).to_dict()
    order = np.argsort(found["distance"], kind="stable")
    return {name: [values[row] for row in order] for name, values in found.items()}


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    found = normalise(np.random.default_rng(3).normal(size=(ITEMS, DIM)))
    found[7] = found[3]  # a tie
    return found.astype(np.float16).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path, vectors: np.ndarray) -> FeatureStore:
    store = open_empty(tmp_path, item_view(Bytes))
    write(store, rows(vectors, as_bytes=True))
    return store


def naive_distances(vectors: np.ndarray, query: np.ndarray, metric: str) -> list[float]:
    """Return one distance a vector, by the definitions."""
    found = []
    for vector in vectors.astype(np.float64):
        product = sum(a * b for a, b in zip(vector, query, strict=True))
        if metric == "cosine":
            found.append(1 - product / np.linalg.norm(vector) / np.linalg.norm(query))
        elif metric == "inner_product":
            found.append(-product)
        else:
            found.append(float(np.sqrt(sum((vector - query) ** 2))))
    return found


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "L2"])
@pytest.mark.parametrize("dtype", [Bytes, LIST], ids=["bytes", "list"])
def test_search_is_exact(
    tmp_path: Path, vectors: np.ndarray, dtype: FeastType, metric: str
) -> None:
    store = open_empty(tmp_path, item_view(dtype))
    longer = vectors * np.linspace(0.5, 2, ITEMS, dtype=np.float32)[:, None]
    longer = longer.astype(np.float16).astype(np.float32)
    write(store, rows(longer, as_bytes=dtype is Bytes))
    query = np.random.default_rng(5).normal(size=DIM)
    found = search(store, query, distance_metric=metric)
    distances = naive_distances(longer, query, metric)
    nearest = sorted(range(ITEMS), key=lambda item: distances[item])[:10]
    assert found["item_id"] == nearest
    assert found["price"] == nearest
    assert found["distance"] == pytest.approx([distances[i] for i in nearest], abs=2e-6)


def test_the_views_metric_goes_first(tmp_path: Path, vectors: np.ndarray) -> None:
    store = open_empty(tmp_path, item_view(LIST, metric="cosine"))
    write(store, rows(vectors, as_bytes=False))
    found = search(store, 2 * vectors[11], top_k=1, distance_metric="L2")
    assert found["item_id"] == [11]
    assert found["distance"] == pytest.approx([0], abs=1e-6)


def test_features_that_were_asked_for_come_back(store: FeatureStore, vectors: np.ndarray) -> None:
    found = search(store, vectors[20], top_k=1)
    assert found["embedding"] == [vectors[20].astype("<f2").tobytes()]


def test_more_than_there_are_is_all(store: FeatureStore, vectors: np.ndarray) -> None:
    assert sorted(search(store, vectors[0], top_k=10_000)["item_id"]) == list(range(ITEMS))


def test_tie_is_broken_the_same_way_each_time(store: FeatureStore, vectors: np.ndarray) -> None:
    found = [search(store, vectors[3], top_k=1)["item_id"] for _ in range(3)]
    assert found in ([[3]] * 3, [[7]] * 3)


def test_own_writes_are_seen(store: FeatureStore, vectors: np.ndarray) -> None:
    assert search(store, -vectors[0], top_k=1)["item_id"] != [999]
    write(store, rows(-vectors[:1], as_bytes=True, first=999))
    assert search(store, -vectors[0], top_k=1)["item_id"] == [999]


def test_writes_of_another_process_are_seen(store: FeatureStore, vectors: np.ndarray) -> None:
    assert search(store, -vectors[0], top_k=1)["item_id"] != [0]
    program = (
        "import sys, pandas as pd\n"
        "from sail_features.feast_plugin import open_feature_store\n"
        "store = open_feature_store(sys.argv[1])\n"
        "store.write_to_online_store('item_embedding', pd.read_parquet(sys.argv[2]))\n"
    )
    update = store.repo_path / "update.parquet"
    rows(-vectors[:1], as_bytes=True).to_parquet(update)
    subprocess.run([sys.executable, "-c", program, store.repo_path, update], check=True)
    assert search(store, -vectors[0], top_k=1)["item_id"] == [0]


def test_empty_store_finds_nothing(tmp_path: Path, vectors: np.ndarray) -> None:
    assert search(open_empty(tmp_path, item_view(Bytes)), vectors[0])["distance"] == []


def test_query_of_another_length_is_refused(store: FeatureStore) -> None:
    with pytest.raises(InputError, match="a query of 3 numbers, vectors of 16"):
        search(store, np.ones(3))


def test_unknown_metric_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    store = open_empty(tmp_path, item_view(Bytes))
    write(store, rows(vectors, as_bytes=True))
    with pytest.raises(ConfigError, match="unknown 'hamming'"):
        search(store, vectors[0], distance_metric="hamming")


def test_view_without_a_vector_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    store = open_empty(tmp_path, item_view(Int64))
    with pytest.raises(ConfigError, match="has 0 vectors to search"):
        search(store, vectors[0])


def test_stored_vectors_of_several_lengths_are_refused(
    store: FeatureStore, vectors: np.ndarray
) -> None:
    write(store, rows(vectors[:1, :8], as_bytes=True))
    with pytest.raises(InputError, match="vectors of 2 lengths: 8, 16"):
        search(store, vectors[0])


def test_search_by_text_is_refused(store: FeatureStore) -> None:
    with pytest.raises(ConfigError, match="by vector alone"):
        store.retrieve_online_documents_v2(["item_embedding:price"], 3, query_string="tea")


def test_row_older_than_its_ttl_is_not_found(tmp_path: Path, vectors: np.ndarray) -> None:
    store = open_empty(tmp_path, item_view(Bytes, ttl=timedelta(hours=1)))
    frame = rows(vectors[:3], as_bytes=True)
    frame["event_timestamp"] = [NOW, NOW - timedelta(minutes=30), NOW - timedelta(minutes=90)]
    write(store, frame)
    entities = [{"item_id": item} for item in range(3)]
    prices = store.get_online_features(["item_embedding:price"], entities).to_dict()["price"]
    assert prices == [0, 1, None]
    assert sorted(search(store, vectors[0])["item_id"]) == [0, 1]
