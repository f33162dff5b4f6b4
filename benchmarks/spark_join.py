"""Point-in-time joins on Spark: our store against Feast's, from a DataFrame to Parquet.

Each side runs in a process of its own, in turns, in a session of the same settings, and its
best CPU time from the call to the written files counts: of Python, of the JVM and of
its workers. Java's start is left out, its compiler's work is in. The rows are those of
`benchmarks/feast_join.py`: 10 and 50 rows a key, whose product Feast's join goes through.
Feast's side takes most of the time, many minutes on two busy cores.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import duckdb
import psutil
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from benchmarks.feast_join import MILLION, SCALARS, write_data
from sail_features.steps import StepMeter

OURS: Final = "sail_features.feast_plugin.stores.spark_store.SailSparkOfflineStore"
FEAST: Final = "spark"
ROUNDS: Final = 2
SESSION: Final = {"spark.master": "local[2]", "spark.driver.memory": "8g"}


def open_store(folder: Path, kind: str) -> Any:
    """Return a feature store over the data, with one kind of offline store."""
    from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
    from feast.types import Float32
    from feast.value_type import ValueType

    config = RepoConfig(
        project="join",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/{kind[-5:]}.db"},
        offline_store={"type": kind},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = FeatureStore(config=config)
    views = [
        FeatureView(
            name=name,
            entities=[Entity(name=key, join_keys=[f"{key}_id"], value_type=ValueType.INT64)],
            schema=[Field(name=feature, dtype=Float32) for feature in features],
            source=SparkSource(
                name=name,
                path=str(folder / f"{name}.parquet"),
                file_format="parquet",
                timestamp_field="event_timestamp",
                created_timestamp_column="available_at",
            ),
        )
        for name, key, features in (("users", "user", "ab"), ("items", "item", "cd"))
    ]
    keys = [
        Entity(name=key, join_keys=[f"{key}_id"], value_type=ValueType.INT64)
        for key in ("user", "item")
    ]
    store.apply([*keys, *views])
    return store


def join_to_parquet(folder: Path, kind: str) -> Callable[[], None]:
    """Return the join of a DataFrame by one store; Spark is started before."""
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import (
        SavedDatasetSparkStorage,
    )

    from sail_features.feast_plugin.spark_session import open_session

    open_session(SESSION)
    store = open_store(folder, kind)
    asked = pq.read_table(folder / "asked.parquet").to_pandas()
    place = SavedDatasetSparkStorage(path=str(output(folder, kind)), file_format="parquet")
    return lambda: store.get_historical_features(asked, SCALARS).persist(place)


def output(folder: Path, kind: str) -> Path:
    """Return where one side writes."""
    return folder / f"joined_{kind.rsplit('.', 1)[-1]}"


def tree_cpu_s() -> float:
    """Return the CPU seconds of this process and of all that it started."""
    this = psutil.Process()
    times = [one.cpu_times() for one in (this, *this.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def measure(folder: Path, kind: str) -> None:
    """Run one join in this process and print its CPU seconds and peak memory."""
    from rich.console import Console

    warnings.simplefilter("ignore")
    join, meter = join_to_parquet(folder, kind), StepMeter(Console(quiet=True))
    begin = tree_cpu_s()
    with meter.step("join"):
        join()
    print(json.dumps({"cpu_s": tree_cpu_s() - begin, **meter.steps["join"]}))


def run_side(folder: Path, kind: str) -> dict[str, float]:
    """Measure one side in a process of its own."""
    shutil.rmtree(output(folder, kind), ignore_errors=True)
    command = [sys.executable, __file__, str(folder), kind]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def differing_rows(folder: Path) -> int:
    """Return how many rows one side has and the other hasn't."""
    ours, theirs = (
        f"SELECT user_id, item_id, event_timestamp, a, b, c, d "  # noqa: S608  # paths of our own
        f"FROM '{output(folder, kind)}/*.parquet'"
        for kind in (OURS, FEAST)
    )
    only_one = f"({ours} EXCEPT ALL {theirs}) UNION ALL ({theirs} EXCEPT ALL {ours})"
    return len(duckdb.sql(only_one).fetchall())


def main() -> None:
    """Measure both sides and hold them against the bars."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, MILLION)
        rounds = [{kind: run_side(folder, kind) for kind in (OURS, FEAST)} for _ in range(ROUNDS)]
        differing = differing_rows(folder)
    best = {
        kind: {
            "cpu_s": min(one[kind]["cpu_s"] for one in rounds),
            "seconds": min(one[kind]["seconds"] for one in rounds),
            "peak_gb": max(one[kind]["peak_gb"] for one in rounds),
        }
        for kind in (OURS, FEAST)
    }
    ratio = best[FEAST]["cpu_s"] / best[OURS]["cpu_s"]
    bars = [
        Bar("4 scalars, 1M rows to Parquet: Feast's Spark store takes", ratio, "at least", 1, "x"),
        Bar("rows in which the two differ", differing, "at most", 0, "rows"),
    ]
    finish("spark_join", bars, {"best": best, "rounds": rounds})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]), sys.argv[2])
    else:
        main()
