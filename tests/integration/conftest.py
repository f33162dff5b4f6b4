"""One real Spark and one real Redis for all tests that need one."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from sail_features.config import SparkConfig
from sail_features.spark.session import build_session
from sail_features.tables import TableStore


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Return the session that the jobs build, small and away from the working tree."""
    scratch = tmp_path_factory.mktemp("spark")
    config = SparkConfig(
        # Two tasks at a time: what shows a race, on the two cores that CI has.
        master="local[2]",
        # Tables of hundreds of rows need none; the machine runs other things beside.
        driver_memory="1g",
        conf={
            # A task costs more than its rows here; two are enough to cross a shuffle.
            "spark.sql.shuffle.partitions": "2",
            # Shuffle files and tables that a test might make stay out of the working tree.
            "spark.local.dir": str(scratch / "local"),
            "spark.sql.warehouse.dir": str(scratch / "warehouse"),
            # Seconds of code generation for queries that run once.
            "spark.sql.codegen.wholeStage": "false",
        },
    )
    session = build_session(config, "tests")
    yield session
    session.stop()


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    """Return an empty store of tables."""
    return TableStore(tmp_path / "tables")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a SPARK_HOME in the test's folder: executors keep their files in SPARK_HOME/work."""
    folder = tmp_path / "spark"
    folder.mkdir()
    for part in ("bin", "jars"):
        (folder / part).symlink_to(Path(pyspark.__file__).parent / part)
    return folder


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    """Return the port of a Redis server that runs for one module's tests and keeps nothing."""
    pytest.importorskip("redis", reason="needs Feast's extra `redis`")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs the system package redis-server")
    from feast_workspace import free_port

    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for_port(port: int, timeout_s: float = 30) -> None:
    """Return once something listens on a port of this machine."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
