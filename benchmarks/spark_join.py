"""Point-in-time joins on Spark: our store against Feast's, from a DataFrame to Parquet.

Each side runs in a process of its own, in a session of the same settings; its CPU time from
the call to the written files counts: of Python, of the JVM and of its workers. Java's start
is left out, its compiler's work is in. The rows are those of `benchmarks/feast_join.py`: 10
and 50 rows a key, whose product Feast's join goes through. With a million rows that is more
than it has finished here, so it is stopped once it has spent `ENOUGH` times our CPU time, and
what it spent by then, or by the time it ran out of memory, is a lower bound; the answers are
compared at a tenth of the rows. About eight minutes on two cores.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
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
from benchmarks.process_tree import cpu_of_tree
from sail_features.steps import StepMeter

OURS: Final = "sail_features.feast_plugin.stores.spark_store.SailSparkOfflineStore"
FEAST: Final = "spark"
SMALL: Final = MILLION // 10
ENOUGH: Final = 3
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


def measure(folder: Path, kind: str) -> None:
    """Run one join in this process and print its CPU seconds and peak memory."""
    from rich.console import Console

    warnings.simplefilter("ignore")
    join, meter = join_to_parquet(folder, kind), StepMeter(Console(quiet=True))
    begin = cpu_of_tree()
    with meter.step("join"):
        join()
    print(json.dumps({"cpu_s": cpu_of_tree() - begin, **meter.steps["join"]}))


def run_side(folder: Path, kind: str, most_cpu_s: float = math.inf) -> dict[str, Any]:
    """Measure one side in a process of its own; stop it when it has spent so much."""
    shutil.rmtree(output(folder, kind), ignore_errors=True)
    command = [sys.executable, __file__, str(folder), kind]
    spent, begin = 0.0, time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as side:
        while side.poll() is None:
            with contextlib.suppress(psutil.Error):
                spent = max(spent, cpu_of_tree(psutil.Process(side.pid)))
            if spent > most_cpu_s:
                for process in psutil.Process(side.pid).children(recursive=True):
                    process.kill()
                side.kill()
            time.sleep(1)
        told = side.stdout.read().splitlines() if side.stdout else []
    seconds = time.monotonic() - begin
    if side.returncode:
        return {"cpu_s": spent, "seconds": seconds, "finished": False}
    return {**json.loads(told[-1]), "finished": True}


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
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for rows in (SMALL, MILLION):
        with tempfile.TemporaryDirectory() as name:
            write_data(Path(name), rows)
            ours = run_side(Path(name), OURS)
            theirs = run_side(
                Path(name), FEAST, ENOUGH * ours["cpu_s"] if rows == MILLION else math.inf
            )
            found[rows] = {OURS: ours, FEAST: theirs}
            if rows == SMALL:
                differing = differing_rows(Path(name))
    small, large = (found[rows][FEAST]["cpu_s"] / found[rows][OURS]["cpu_s"] for rows in found)
    ended = "" if found[MILLION][FEAST]["finished"] else " when it was stopped"
    bars = [
        Bar("4 scalars, 100k rows to Parquet: Feast's Spark store takes", small,
            "at least", 1, "x"),
        Bar(f"4 scalars, 1M rows: Feast's Spark store had taken{ended}", large,
            "at least", 1, "x"),
        Bar("rows in which the two differ", differing, "at most", 0, "rows"),
    ]  # fmt: skip
    finish("spark_join", bars, {"rows": found})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]), sys.argv[2])
    else:
        main()
