"""Feedback kept by user between nights: bucketed and sorted once, not every night again.

Each partition of events, and of logged impressions, becomes a run: a Parquet file a
bucket of users, in the order of the match job's stream. A run is made when a partition
is first seen and found again by its fingerprint; a task merges the runs of its bucket
with what is asked. Most of what the match job shuffles is events (decision 0017).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.derived import DERIVED, mark_used
from sail_features.manifest import Manifest, sha256_of
from sail_features.spark.bucket_files import path_of_bucket, write_bucket, write_buckets
from sail_features.spark.inputs import read_told, read_unclicked
from sail_features.spark.match_stream import build_run
from sail_features.tables import TableStore

ROWS_PER_READ: Final = 65_536


def keep_runs(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    events: Sequence[Manifest],
    impressions: Sequence[Manifest],
    types: Sequence[str],
) -> tuple[Path, ...]:
    """Return the folders of all runs of these partitions, made where they weren't there.

    Parameters
    ----------
    types : event types that features ask for.
    """
    with_types, runs = bool(types), []
    weight = config.history.unclicked_weight
    shape = [config.spark.buckets, *types]
    for part in events:
        told = read_told(spark, store, [part], types=with_types)
        run = build_run(told, types, config.spark.buckets, unclicked=False)
        runs.append(_keep(store.root, run, ["told", part.fingerprint, *shape]))
    for part in impressions:
        unclicked = read_unclicked(spark, store, [part], config.history, types=with_types)
        if unclicked is not None:
            run = build_run(unclicked, types, config.spark.buckets, unclicked=True)
            runs.append(_keep(store.root, run, ["unclicked", part.fingerprint, weight, *shape]))
    return tuple(runs)


def iter_run(folder: Path, bucket: int) -> Iterator[pa.RecordBatch]:
    """Read one bucket of a run."""
    path = path_of_bucket(folder, bucket)
    if path.is_file():
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(ROWS_PER_READ)


def _keep(root: Path, run: DataFrame, key: list[object]) -> Path:
    folder = root / DERIVED / f"user_events-{sha256_of(key)[:16]}"
    if folder.is_dir():
        mark_used(folder)
    else:
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_buckets(run, _KeepTask(unfinished), unfinished)
        unfinished.rename(folder)
    return folder


@dataclass(frozen=True)
class _KeepTask:
    """Writes a bucket's sorted events as one file."""

    folder: Path

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = (pa.Table.from_batches([batch]) for batch in batches)
        return write_bucket(tables, self.folder, (c.USER_ID, c.ITEM_ID, c.WEIGHT))
