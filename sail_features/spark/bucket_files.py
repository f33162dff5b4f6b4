"""Parquet files that tasks write by themselves, one a bucket.

On their way through Java, rows of many columns would cost more than their features.
Files of tasks that were tried twice do no harm: each attempt writes under a name of its
own, and the driver takes over the one that Spark says succeeded. The folder must lie on
a file system that all machines mount, as tables do.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import DataFrame

ATTEMPTS: Final = "attempts"
WRITTEN: Final = "bucket int, file string"
BucketTask = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def bucket_of_task() -> int:
    """Return which bucket this task works on: the number of its partition."""
    bucket: int = cast(TaskContext, TaskContext.get()).partitionId()
    return bucket


def path_of_bucket(folder: Path, bucket: int) -> Path:
    """Return the file of one bucket, whether it exists or not."""
    return folder / f"part-{bucket:05d}.parquet"


def write_bucket(
    tables: Iterable[pa.Table], folder: Path, repeating: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Write a bucket's tables as row groups of one file, and tell of it; for use in a task.

    Parameters
    ----------
    repeating : columns whose values repeat so often that a dictionary pays.
    """
    bucket = bucket_of_task()
    name = f"{bucket:05d}-{cast(TaskContext, TaskContext.get()).taskAttemptId()}.parquet"
    with ExitStack() as closing:
        writer = None
        for table in tables:
            if writer is None:
                (folder / ATTEMPTS).mkdir(exist_ok=True)
                writer = closing.enter_context(
                    pq.ParquetWriter(
                        folder / ATTEMPTS / name,
                        table.schema,
                        compression="zstd",
                        use_dictionary=list(repeating),
                    )
                )
            writer.write_table(table)
    if writer is not None:
        told = {"bucket": pa.array([bucket], pa.int32()), "file": pa.array([name])}
        yield pa.RecordBatch.from_pydict(told)


def write_buckets(buckets: DataFrame, task: BucketTask, folder: Path) -> int:
    """Run a task that ends in `write_bucket` on each partition; return the number of files."""
    written = buckets.mapInArrow(task, WRITTEN).collect()
    for bucket, file in written:
        (folder / ATTEMPTS / file).rename(path_of_bucket(folder, bucket))
    shutil.rmtree(folder / ATTEMPTS, ignore_errors=True)
    return len(written)
