"""Encodes contents in chunks of some minutes, each kept as soon as it is done.

A chunk is a Spark job of its own over a stretch of content hashes, which are uniform:
any stretch is a fair sample. The first is small and tells the speed; the later ones are
as large as a few minutes take, so that a kill costs those at most.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.progress import Progress, Watch
from sail_features.spark.encode_task import ENCODED, TaskReport, TaskReports, encode_batches
from sail_features.spark.gpu import encode_profile
from sail_features.spark.inputs import spark_path
from sail_features.spark.job_watch import watched_job
from sail_features.spark.unpublished import Unpublished

CHUNK_S = 300.0
FIRST_WINDOWS_PER_TASK = 0.25
LEAST_SHARE_OF_WINDOW = 16
TASKS_PER_CORE = 4
_DIGITS = 15
"""Hex digits of a hash that tell its place; a float holds them exactly enough."""


def encode_in_chunks(
    spark: SparkSession,
    contents: DataFrame,
    total: int,
    unpublished: Unpublished,
    config: SailConfig,
    window_rows: int,
    watch: Watch,
) -> list[TaskReport]:
    """Encode distinct contents into ``unpublished``.

    Parameters
    ----------
    contents : content_hash and content, sorted by hash; read once a chunk.
    total : how many there are.
    window_rows : of the encoder; the first chunk has a fraction of it a task.
    watch : is told of the progress every second.
    """
    reports = spark.sparkContext.accumulator([], TaskReports())
    settings, profile = config.encoder, encode_profile(spark, config.spark)

    def encode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return encode_batches(batches, settings, reports)

    cores = spark.sparkContext.defaultParallelism
    rows = max(1, round(FIRST_WINDOWS_PER_TASK * window_rows * cores))
    began, done = time.monotonic(), 0.0
    while total and done < 1:
        share = min(1.0, rows / total)
        end = 1.0 if done + 1.5 * share >= 1 else done + share
        expected = round((end - done) * total)
        tasks = _tasks(expected, cores, window_rows)
        progress = Progress(round(done * total), total, time.monotonic() - began)

        def tell(of_chunk: float, done: float = done, end: float = end) -> None:
            so_far = round((done + of_chunk * (end - done)) * total)
            watch(Progress(so_far, total, time.monotonic() - began))

        with watched_job(spark, f"encode: {progress}", tell):
            chunk = _between(contents, done, end).repartition(tasks, c.CONTENT_HASH)
            encoded = chunk.mapInArrow(encode, ENCODED, profile=profile)
            encoded.write.parquet(spark_path(unpublished.next_chunk()))
        done = end
        rate = done * total / (time.monotonic() - began)
        rows = max(1, round(rate * CHUNK_S))
    return list(reports.value)


def _between(contents: DataFrame, begin: float, end: float) -> DataFrame:
    """Return the contents whose hash lies in a stretch of [0, 1)."""
    stretch = f.col(c.CONTENT_HASH) >= _hash_at(begin)
    return contents.where(stretch & (f.col(c.CONTENT_HASH) < _hash_at(end)) if end < 1 else stretch)


def _hash_at(place: float) -> str:
    return f"{int(place * 16**_DIGITS):0{_DIGITS}x}"


def _tasks(rows: int, cores: int, window_rows: int) -> int:
    """Return a task a core, and several where their windows stay large enough not to pad."""
    enough = max(1, window_rows // LEAST_SHARE_OF_WINDOW)
    return max(min(rows, cores), min(TASKS_PER_CORE * cores, rows // enough), 1)
