"""kill -9 in the middle of a job: what was published stays, and a rerun mends the rest."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import worlds
from worlds import at

from sail_features.config import load_config
from sail_features.spark.encode import run_encode
from sail_features.tables import TableStore

JOB = Path(__file__).parents[2] / "jobs" / "encode.py"
AS_OF = at(10)
SETTINGS = """
workspace: .
encoder: {kind: hash, dim: 32, max_quarantine_share: 0.5}
spark: {master: "local[1]", driver_memory: 1g, buckets: 2}
"""


def put_items(store: TableStore, word: str) -> None:
    made = worlds.items([(f"i{n}", at(1), f"{word} {n}") for n in range(50)])
    worlds.publish(store, "items", made, as_of=AS_OF)


def staged(store: TableStore, pattern: str) -> bool:
    return any((store.root / "item_embedding").glob(f"_staging-*{pattern}"))


def bytes_of(store: TableStore) -> dict[str, bytes]:
    folder = store.partition("item_embedding", AS_OF)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_and_kill(settings: Path, moment: Callable[[], bool]) -> None:
    """Start the job, kill its Python at ``moment``, and wait for its Java to follow."""
    command = [sys.executable, str(JOB), "--config", str(settings), "--as-of", AS_OF.isoformat()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + 120
        while not moment():
            assert process.poll() is None, "the job ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    for child in alive:
        child.kill()
    assert not alive, "the job's Java outlived it"


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern", ["", "/_work", "/_temporary"], ids=["opened", "encoding", "writing"]
)
def test_killed_job_changes_nothing_and_a_rerun_succeeds(spark, tmp_path, pattern):
    settings = tmp_path / "sail.yaml"
    settings.write_text(SETTINGS)
    config = load_config(settings)
    store = TableStore(config.tables)
    put_items(store, "tea")
    run_encode(spark, store, config, as_of=AS_OF)
    before = bytes_of(store)
    put_items(store, "wine")

    run_and_kill(settings, lambda: staged(store, pattern))

    assert bytes_of(store) == before
    assert staged(store, "")
    manifest = run_encode(spark, store, config, as_of=AS_OF)
    assert manifest.lineage["summary"]["encoded"] == 50
    assert not staged(store, "")
    assert run_encode(spark, store, config, as_of=AS_OF).fingerprint == manifest.fingerprint
