"""Point-in-time joins: our DuckDB store against Feast's, and against ASOF JOIN in plain SQL.

Each side runs in processes of its own, in turns, and its best CPU time from the call to
the written or returned result counts; Feast's import, about four seconds, is left out.
The rows are synthetic, the shapes those of a ranker's training set. About six minutes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish

OURS: Final = "sail_features.feast_plugin.stores.duckdb_store.SailDuckDBOfflineStore"
MILLION: Final = 1_000_000
USERS, ITEMS, DIM = 100_000, 20_000, 384
ROUNDS: Final = 2
START: Final = 1_577_836_800_000_000
DAYS_US: Final = 100 * 86_400_000_000
SCALARS: Final = ["users:a", "users:b", "items:c", "items:d"]
VECTOR: Final = ["vectors:embedding"]


def write_data(folder: Path, rows: int) -> None:
    """Write the entity rows, two views of as many rows, and a vector an item."""
    rng = np.random.default_rng(0)

    def times(count: int) -> pa.Array:
        return pa.array(START + rng.integers(0, DAYS_US, count), pa.timestamp("us", "UTC"))

    asked = {"user_id": rng.integers(0, USERS, rows), "item_id": rng.integers(0, ITEMS, rows)}
    pq.write_table(pa.table({**asked, "event_timestamp": times(rows)}), folder / "asked.parquet")
    for name, key, ids, features in (
        ("users", "user_id", USERS, "ab"),
        ("items", "item_id", ITEMS, "cd"),
    ):
        held = times(rows)
        columns = {feature: rng.random(rows, np.float32) for feature in features}
        stamps = {"event_timestamp": held, "available_at": held}
        table = pa.table({key: rng.integers(0, ids, rows), **stamps, **columns})
        pq.write_table(table, folder / f"{name}.parquet")
    start = pa.array(np.full(ITEMS, START), pa.timestamp("us", "UTC"))
    vectors = [vector.tobytes() for vector in rng.standard_normal((ITEMS, DIM)).astype("<f2")]
    stamps = {"event_timestamp": start, "available_at": start}
    table = pa.table({"item_id": np.arange(ITEMS), **stamps, "embedding": vectors})
    pq.write_table(table, folder / "vectors.parquet")


def open_store(folder: Path, kind: str) -> Any:
    """Return a feature store over the data, with one kind of offline store."""
    from feast import Entity, FeatureStore, FeatureView, FileSource, RepoConfig
    from feast.value_type import ValueType

    settings = {"memory_limit": "4GB"} if kind == OURS else {}
    registry = f"sqlite:///{folder}/{kind.rsplit('.', 1)[-1]}.db"
    config = RepoConfig(
        project="join",
        provider="local",
        registry={"registry_type": "sql", "path": registry},
        offline_store={"type": kind, **settings},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = FeatureStore(config=config)
    user, item = (
        Entity(name=name, join_keys=[f"{name}_id"], value_type=ValueType.INT64)
        for name in ("user", "item")
    )
    views = [
        FeatureView(
            name=name,
            entities=[entity],
            source=FileSource(
                name=name,
                path=str(folder / f"{name}.parquet"),
                timestamp_field="event_timestamp",
                created_timestamp_column="available_at",
            ),
        )
        for name, entity in (("users", user), ("items", item), ("vectors", item))
    ]
    store.apply([user, item, *views])
    return store


def join_by_store(folder: Path, kind: str, features: list[str]) -> Callable[[], Any]:
    """Return the join of a pandas frame by a store, to Arrow, or to Parquet for vectors."""
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    store = open_store(folder, kind)
    asked = pq.read_table(folder / "asked.parquet").to_pandas()
    if features == VECTOR:
        asked = asked[["item_id", "event_timestamp"]]
        place = SavedDatasetFileStorage(str(folder / "joined.parquet"))
        return lambda: store.get_historical_features(asked, features).persist(place, True)
    return lambda: store.get_historical_features(asked, features).to_arrow()


def join_by_sql(folder: Path) -> Callable[[], Any]:
    """Return the same join written by hand, which keeps no order and knows no ties."""
    import duckdb

    asked: pd.DataFrame = pq.read_table(folder / "asked.parquet").to_pandas()
    con = duckdb.connect(config={"memory_limit": "4GB"})
    joins = [
        f"ASOF LEFT JOIN '{folder}/{name}.parquet' {name} "
        f"ON e.{key} = {name}.{key} AND e.event_timestamp >= {name}.event_timestamp"
        for name, key in (("users", "user_id"), ("items", "item_id"))
    ]

    def join() -> Any:
        con.register("frame", pa.Table.from_pandas(asked, preserve_index=False))
        con.execute("CREATE TABLE e AS FROM frame")
        return con.execute(f"SELECT e.*, a, b, c, d FROM e {' '.join(joins)}").to_arrow_table()  # noqa: S608

    return join


def measure(folder: Path, side: str, what: str) -> None:
    """Run one join in this process and print its CPU seconds and peak memory."""
    features = VECTOR if what == "vector" else SCALARS
    join = join_by_sql(folder) if side == "sql" else join_by_store(folder, side, features)
    begin = time.process_time()
    join()
    took = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"cpu_s": took, "peak_gb": peak}))


def run_side(folder: Path, side: str, what: str) -> dict[str, float]:
    """Measure one side in a process of its own."""
    command = [sys.executable, __file__, str(folder), side, what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    (folder / "joined.parquet").unlink(missing_ok=True)
    return found


def best_of(folder: Path, sides: list[str], what: str) -> dict[str, dict[str, float]]:
    """Return each side's least CPU time and largest memory, the sides taking turns."""
    rounds = [{side: run_side(folder, side, what) for side in sides} for _ in range(ROUNDS)]
    return {
        side: {
            "cpu_s": min(one[side]["cpu_s"] for one in rounds),
            "peak_gb": max(one[side]["peak_gb"] for one in rounds),
        }
        for side in sides
    }


def main() -> None:
    """Measure all joins and hold them against the bars."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, MILLION)
        scalars = best_of(folder, [OURS, "duckdb", "sql"], "scalars")
        vector = best_of(folder, [OURS, "duckdb"], "vector")
        write_data(folder, 10 * MILLION)
        large = run_side(folder, OURS, "scalars")
    ours = scalars[OURS]["cpu_s"]
    feast, sql = scalars["duckdb"]["cpu_s"] / ours, ours / scalars["sql"]["cpu_s"]
    vectors = vector["duckdb"]["cpu_s"] / vector[OURS]["cpu_s"]
    bars = [
        Bar("4 scalars, 1M rows: Feast's DuckDB store takes", feast, "at least", 8, "x"),
        Bar("4 scalars, 1M rows: against ASOF JOIN in SQL", sql, "at most", 1.5, "x"),
        Bar("4 scalars, 10M rows: peak memory", large["peak_gb"], "at most", 8, "GB"),
        Bar("embedding, 1M rows: Feast's DuckDB store takes", vectors, "at least", 4, "x"),
        Bar("embedding, 1M rows: peak memory", vector[OURS]["peak_gb"], "at most", 2, "GB"),
    ]
    finish("feast_join", bars, {"scalars": scalars, "vector": vector, "scalars_10M": large})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    else:
        main()
