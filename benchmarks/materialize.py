"""Materializing user histories into SQLite: peak memory, and whether its cost is linear.

Each user has one row of 100 events packed into bytes (item number, time, weight: 20 bytes
an event). Each size runs in a process of its own, with the stores and settings of
`feature_repo/`; its CPU time is that of ``materialize`` alone. About three minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish

REPO: Final = Path(__file__).parents[1] / "feature_repo" / "feature_store.yaml"
SIZES: Final = (25_000, 50_000, 100_000)
EVENTS: Final = 100
BYTES_AN_EVENT: Final = 20
AS_OF: Final = datetime(2026, 1, 1, tzinfo=UTC)


def write_histories(folder: Path, users: int) -> None:
    """Write one row a user."""
    rng = np.random.default_rng(0)
    size = EVENTS * BYTES_AN_EVENT
    packed = rng.integers(0, 256, (users, size), np.uint8)
    times = pa.array([AS_OF - timedelta(days=1)] * users, pa.timestamp("us", "UTC"))
    columns = {
        "user_id": [f"user-{number}" for number in range(users)],
        "event_timestamp": times,
        "available_at": times,
        "history": pa.array([row.tobytes() for row in packed], pa.binary()),
    }
    pq.write_table(pa.table(columns), folder / "histories.parquet")


def open_store(folder: Path) -> Any:
    """Return a feature store over the histories, as `feature_repo/` configures it."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast.types import Bytes
    from feast.value_type import ValueType

    settings = yaml.safe_load(REPO.read_text("utf-8"))
    settings["registry"] = {"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"}
    settings["online_store"] = {**settings["online_store"], "path": str(folder / "online.db")}
    store = FeatureStore(config=RepoConfig(**settings, repo_path=folder))
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    source = FileSource(
        name="histories",
        path="histories.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="available_at",
    )
    schema = [Field(name="history", dtype=Bytes)]
    store.apply(
        [user, FeatureView(name="histories", entities=[user], schema=schema, source=source)]
    )
    return store


def measure(folder: Path) -> None:
    """Materialize in this process, and print its CPU seconds and peak memory."""
    store = open_store(folder)
    begin = time.process_time()
    store.materialize(AS_OF - timedelta(days=2), AS_OF)
    took = time.process_time() - begin
    peak = peak_bytes() / 1e9
    last = store.get_online_features(["histories:history"], [{"user_id": "user-0"}]).to_dict()
    size = len(last["history"][0])
    print(json.dumps({"cpu_s": took, "peak_gb": peak, "bytes_a_user": size}))


def peak_bytes() -> int:
    """Return the most that this process held; ``ru_maxrss`` would begin at its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def run_size(users: int) -> dict[str, float]:
    """Materialize so many users in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        write_histories(Path(name), users)
        command = [sys.executable, "-W", "ignore", __file__, name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure all sizes and hold them against the bars."""
    sizes = {str(users): run_size(users) for users in SIZES}
    small, large = sizes[str(SIZES[0])], sizes[str(SIZES[-1])]
    growth = large["cpu_s"] / small["cpu_s"] / (SIZES[-1] / SIZES[0])
    bars = [
        Bar("100k users, 2 kB each: peak memory", large["peak_gb"], "at most", 1, "GB"),
        Bar("CPU a user, 100k against 25k users", growth, "at most", 1.2, "x"),
        Bar("bytes that come back a user", large["bytes_a_user"], "at least", 2_000, "B"),
    ]
    finish("materialize", bars, {"sizes": sizes})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
    else:
        main()
