"""Computed views, materialized through Feast: once, the same again, by whole partitions."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import BatchFeatureView, Entity, FeatureStore, FeatureView, Field, RepoConfig
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Int64
from feast.value_type import ValueType
from feast_workspace import at
from pyspark.sql import DataFrame, SparkSession

from sail_features.config import EncoderConfig, SailConfig
from sail_features.embeddings import pack_column
from sail_features.encoders.catalogue import build_encoder
from sail_features.errors import ConfigError, InputError
from sail_features.feast_plugin.encoded_view import encoded_item_view

STORE = "sail_features.feast_plugin.stores.spark_store.SailSparkOfflineStore"
ENGINE = "sail_features.feast_plugin.engine.spark_engine.SailSparkComputeEngine"
ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
STAMPS = {"timestamp_field": "event_timestamp", "created_timestamp_column": "available_at"}
TAGS = {"content_columns": "text", "encoder_id": "length-v1"}

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def open_store(folder: Path, **engine: Any) -> FeatureStore:
    config = RepoConfig(
        project="encode",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
        offline_store={"type": STORE},
        batch_engine={"type": ENGINE, **engine},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)


def write_items(folder: Path, *items: tuple[float, str, str | None]) -> None:
    """Write (hour, item, text) rows."""
    hours, ids, texts = zip(*items, strict=True)
    times = pa.array([at(hour) for hour in hours], pa.timestamp("us", "UTC"))
    stamps = {"event_timestamp": times, "available_at": times}
    table = pa.table({"item_id": ids, **stamps, "text": pa.array(texts, pa.string())})
    pq.write_table(table, folder / "items.parquet")


def logging_encoder(log: Path, pause_s: float = 0) -> Callable[[DataFrame], DataFrame]:
    """Return an encoder of text to its length, which logs each text that it encodes."""
    folder = str(log)

    def encode(items: DataFrame) -> DataFrame:
        def encode_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            import time
            import uuid
            from pathlib import Path

            import pyarrow as pa

            for batch in batches:
                texts = batch.column("text").to_pylist()
                Path(folder).mkdir(exist_ok=True)
                (Path(folder) / uuid.uuid4().hex).write_text("\n".join(map(str, texts)))
                time.sleep(pause_s)
                lengths = pa.array([len(text or "") for text in texts], pa.int64())
                yield batch.append_column("length", lengths)

        from pyspark.sql.types import LongType, StructField, StructType

        schema = StructType([*items.schema.fields, StructField("length", LongType())])
        return items.mapInArrow(encode_batches, schema)

    return encode


def encoded(folder: Path) -> Counter[str]:
    """Return how often each text was encoded."""
    logs = (folder / "log").glob("*")
    return Counter(text for log in logs for text in log.read_text().splitlines())


def lengths_view(folder: Path, pause_s: float = 0, **more: Any) -> BatchFeatureView:
    place = {"path": str(folder / "sink" / "lengths"), "file_format": "parquet"}
    place = more.pop("place", place)
    query = f"FROM parquet.`{folder}/items.parquet`"
    settings: dict[str, Any] = {"online": True, "offline": True, "tags": TAGS}
    return BatchFeatureView(
        name="lengths",
        entities=[ITEM],
        schema=[Field(name="length", dtype=Int64)],
        source=SparkSource(name="lengths", **{"query": query, **place}, **STAMPS),
        udf=more.pop("udf", logging_encoder(folder / "log", pause_s)),
        udf_string="",
        **{**settings, **more},
    )


@pytest.fixture
def store(tmp_path: Path, spark: SparkSession) -> FeatureStore:
    write_items(
        tmp_path,
        (1, "1", "tea"),
        (2, "2", "tea"),
        (5, "1", "green tea"),
        (30, "3", "mug"),
    )
    opened = open_store(tmp_path)
    opened.apply([ITEM, lengths_view(tmp_path)])
    return opened


def kept(folder: Path) -> list[tuple[str, datetime, int]]:
    """Return the rows of the sink."""
    files = (folder / "sink" / "lengths").glob("as_of=*/*.parquet")
    rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    return sorted((row["item_id"], row["event_timestamp"], row["length"]) for row in rows)


def online(store: FeatureStore, *items: str) -> list[int | None]:
    asked = store.get_online_features(["lengths:length"], [{"item_id": item} for item in items])
    found: list[int | None] = asked.to_dict()["length"]
    return found


def joined(store: FeatureStore, item: str, hour: float) -> list[int]:
    asked = pd.DataFrame({"item_id": [item], "event_timestamp": [at(hour)]})
    found: list[int] = (
        store.get_historical_features(asked, ["lengths:length"]).to_df()["length"].tolist()
    )
    return found


ALL = [("1", at(1), 3), ("1", at(5), 9), ("2", at(2), 3), ("3", at(30), 3)]


def test_each_content_is_encoded_once_and_every_row_is_kept(
    store: FeatureStore, tmp_path: Path
) -> None:
    store.materialize(at(0), at(48))
    assert encoded(tmp_path) == {"tea": 1, "green tea": 1, "mug": 1}
    assert kept(tmp_path) == ALL
    assert online(store, "1", "2", "3", "4") == [9, 3, 3, None]
    assert joined(store, "1", 3) == [3]
    store.materialize(at(0), at(48))
    assert encoded(tmp_path) == {"tea": 1, "green tea": 1, "mug": 1}
    assert kept(tmp_path) == ALL
    assert joined(store, "1", 6) == [9]


def test_window_that_cuts_a_day_keeps_the_rest_of_it(store: FeatureStore, tmp_path: Path) -> None:
    store.materialize(at(0), at(4))
    assert kept(tmp_path) == [ALL[0], ALL[2]]
    store.materialize(at(4), at(30))
    assert kept(tmp_path) == ALL
    write_items(tmp_path, (2, "2", "tea"), (2.5, "4", "mug"))
    store.materialize(at(0), at(4))
    assert kept(tmp_path) == [ALL[1], ALL[2], ALL[3], ("4", at(2.5), 3)]
    assert encoded(tmp_path) == {"tea": 1, "green tea": 1, "mug": 1}
    assert online(store, "1", "4") == [9, 3]
    assert not list((tmp_path / "sink" / "lengths").glob("_*"))


def test_another_encoder_encodes_all_again_and_never_beside_the_old(
    store: FeatureStore, tmp_path: Path
) -> None:
    store.materialize(at(0), at(48))
    store.apply([lengths_view(tmp_path, tags={**TAGS, "encoder_id": "length-v2"})])
    with pytest.raises(InputError, match="length-v2"):
        store.materialize(at(4), at(48))
    assert kept(tmp_path) == ALL
    store.materialize(at(0), at(48))
    assert encoded(tmp_path) == {"tea": 2, "green tea": 2, "mug": 2}
    assert kept(tmp_path) == ALL


def test_without_content_columns_every_row_of_the_window_is_computed_once(
    store: FeatureStore, tmp_path: Path
) -> None:
    store.apply([lengths_view(tmp_path, tags={})])
    store.materialize(at(0), at(24))
    assert encoded(tmp_path) == {"tea": 2, "green tea": 1}
    store.materialize(at(0), at(24))
    assert kept(tmp_path) == ALL[:3]
    assert online(store, "1") == [9]


def test_view_without_a_sink_goes_online_only(store: FeatureStore, tmp_path: Path) -> None:
    store.apply([lengths_view(tmp_path, offline=False)])
    store.materialize(at(0), at(48))
    assert online(store, "1", "2") == [9, 3]
    assert encoded(tmp_path) == {"tea": 2, "green tea": 1, "mug": 1}
    assert not (tmp_path / "sink").exists()


def test_failure_of_the_encoder_is_that_of_the_command(store: FeatureStore, tmp_path: Path) -> None:
    store.materialize(at(0), at(4))

    def fail(items: DataFrame) -> DataFrame:
        return items.selectExpr("*", "CAST(raise_error('no model') AS BIGINT) AS length")

    store.apply([lengths_view(tmp_path, udf=fail)])
    with pytest.raises(Exception, match="no model"):
        store.materialize(at(0), at(48))
    assert kept(tmp_path) == [ALL[0], ALL[2]]


def test_table_view_goes_online(store: FeatureStore, tmp_path: Path) -> None:
    raw = SparkSource(name="raw", query=f"FROM parquet.`{tmp_path}/items.parquet`", **STAMPS)
    sizes = FeatureView(
        name="sizes",
        entities=[ITEM],
        schema=[Field(name="size", dtype=Int64)],
        source=SparkSource(
            name="sizes", query=f"SELECT *, length(text) AS size {raw.query}", **STAMPS
        ),
    )
    store.apply([sizes])
    store.materialize(at(0), at(48), feature_views=["sizes"])
    asked = store.get_online_features(["sizes:size"], [{"item_id": item} for item in "12"])
    assert asked.to_dict()["size"] == [9, 3]


def test_spark_conf_is_in_force_and_then_as_before(
    store: FeatureStore, tmp_path: Path, spark: SparkSession
) -> None:
    key, seen = "spark.sql.shuffle.partitions", str(tmp_path / "seen")
    before = spark.conf.get(key)

    def look(items: DataFrame) -> DataFrame:
        with open(seen, "w") as file:
            file.write(items.sparkSession.conf.get("spark.sql.shuffle.partitions") or "")
        return items.selectExpr("*", "length(text) AS length")

    told = open_store(tmp_path, spark_conf={key: "3"})
    told.apply([lengths_view(tmp_path, udf=look)])
    told.materialize(at(0), at(48))
    assert (Path(seen).read_text(), spark.conf.get(key)) == ("3", before)
    refused = open_store(tmp_path, spark_conf={"spark.driver.memory": "9g"})
    with pytest.raises(ConfigError, match=r"spark\.driver\.memory"):
        refused.materialize(at(0), at(48))


def test_items_are_encoded_by_our_encoder(store: FeatureStore, tmp_path: Path) -> None:
    config = SailConfig(encoder=EncoderConfig(kind="hash", dim=8))
    sink = tmp_path / "vectors"
    view = encoded_item_view(ITEM, config, items=str(tmp_path / "items.parquet"), sink=sink)
    store.apply([view])
    store.materialize(at(0), at(48), feature_views=[view.name])
    asked = [{"item_id": item} for item in "123"]
    found = store.get_online_features([f"{view.name}:embedding"], asked).to_dict()
    encoder = build_encoder(config.encoder)
    vectors = pack_column(encoder.encode(["green tea", "tea", "mug"])).to_pylist()
    assert found["embedding"] == vectors
    rows = [
        row for file in sink.glob("*/*.parquet") for row in pq.ParquetFile(file).read().to_pylist()
    ]
    assert {row["encoder_id"] for row in rows} == {encoder.encoder_id}
    assert len(rows) == len(ALL)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tags": {"content_columns": "text"}}, "none 'encoder_id'"),
        ({"tags": {**TAGS, "content_columns": "title"}}, "title"),
        ({"place": {}}, "names no place for what is computed"),
        ({"tags": {}, "udf": lambda items: items}, "length"),
    ],
)
def test_wrong_views_are_refused(
    store: FeatureStore, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    store.apply([lengths_view(tmp_path, **more)])
    with pytest.raises((ConfigError, InputError), match=message):
        store.materialize(at(0), at(48))
    assert not kept(tmp_path)


@pytest.mark.slow
def test_killed_and_repeated_it_leaves_the_same_rows(store: FeatureStore, tmp_path: Path) -> None:
    store.materialize(at(0), at(3))
    for wait_for in ("new", "log", "sink"):
        _kill_when(tmp_path, wait_for)
        assert set(kept(tmp_path)) <= set(ALL)
        assert set(kept(tmp_path)) >= {ALL[0], ALL[2]}
    store.materialize(at(0), at(48))
    assert kept(tmp_path) == ALL
    assert online(store, "1", "2", "3") == [9, 3, 3]
    assert not list((tmp_path / "sink" / "lengths").glob("_*"))


def _kill_when(folder: Path, stage: str) -> None:
    """Materialize in a process of its own, and kill it once it has come so far."""
    sink = folder / "sink" / "lengths"
    before = set((folder / "log").glob("*"))
    patterns = {"new": "_staging-*/new/_SUCCESS", "sink": "as_of=2020-01-03"}
    code = f"from test_feast_spark_engine import *; run_killed(Path({str(folder)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    try:
        for _ in range(1200):
            assert process.poll() is None, "it ended before it could be killed"
            if stage == "log" and set((folder / "log").glob("*")) - before:
                break
            if stage in patterns and list(sink.glob(patterns[stage])):
                break
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def run_killed(folder: Path) -> None:
    """Materialize everything, slowly enough to be killed."""
    open_store(folder).materialize(at(0), at(48))
