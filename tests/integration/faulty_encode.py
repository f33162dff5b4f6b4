"""The encode command in small chunks, with a fault in its tasks: what tests start and kill.

Run as a program, this file is ``sail-features encode`` of a configuration; the fault is
one of `FAULTS`. A process can have one Spark, and the other tests keep theirs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark import TaskContext

from sail_features.cli import main
from sail_features.config import SailConfig
from sail_features.encoders.hashing import HashEncoder
from sail_features.encoders.transformer_text import TransformerTextEncoder
from sail_features.errors import ModelError
from sail_features.spark import encode_chunks
from sail_features.spark.encode_task import encode_batches
from sail_features.spark.unpublished import Unpublished

CHUNK_S = 10.0
WINDOW_ROWS = 80
"""Forty rows in the first chunk on two cores, in eight tasks; what ten seconds take later."""
TASK_S = 0.3
BEFORE_REMOVAL_S = 2.0


def when_half_done(fault: Callable[[], Any]) -> Callable[..., Iterator[pa.RecordBatch]]:
    """Return a task that has a fault behind half of its rows; its second attempt has none."""

    def task(batches: Iterator[pa.RecordBatch], *rest: Any) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        assert context is not None
        time.sleep(TASK_S)
        for batch in encode_batches(batches, *rest):
            half = batch.num_rows // 2
            yield batch.slice(0, half)
            if context.partitionId() == 1 and context.attemptNumber() == 0:
                fault()
            yield batch.slice(half)

    return task


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raise_once() -> None:
    raise OSError("the disk was full for a moment")


def straggle() -> None:
    time.sleep(3600)


def lack_weights() -> None:
    raise ModelError.not_found("tiny", "its weights are gone")


FAULTS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "killed worker": be_killed,
    "error": raise_once,
    "straggler": straggle,
    "no weights": lack_weights,
}


def write_settings(folder: Path, config: SailConfig) -> Path:
    """Write a configuration whose workspace is ``folder``; JSON is YAML too."""
    path = folder / "sail.yaml"
    path.write_text(config.model_copy(update={"workspace": folder}).model_dump_json())
    return path


def start(settings: Path, as_of: str, fault: str = "none", **environment: str) -> Any:
    """Start this file as a program."""
    return subprocess.Popen(
        [sys.executable, __file__, fault, str(settings), as_of],
        cwd=settings.parent,
        env={**os.environ, "COLUMNS": "300", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def be_slow_to_remove() -> None:
    """Leave a kill the time to come between the publication and the removal of chunks."""
    remove = Unpublished.remove

    def wait_and_remove(unpublished: Unpublished) -> None:
        time.sleep(BEFORE_REMOVAL_S)
        remove(unpublished)

    Unpublished.remove = wait_and_remove  # type: ignore[method-assign]


if __name__ == "__main__":
    _, name, config_path, moment = sys.argv
    encode_chunks.CHUNK_S = CHUNK_S
    HashEncoder.window_rows = TransformerTextEncoder.window_rows = WINDOW_ROWS  # type: ignore
    encode_chunks.encode_batches = when_half_done(FAULTS[name])
    be_slow_to_remove()
    main(["encode", "--config", config_path, "--as-of", moment])
