"""What a task of the match job does with its bucket's stream, on an executor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numba
import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from sail_features import columns as c
from sail_features.history import MICROSECOND, HistoryWindow, times_of, to_us, us_of
from sail_features.match.block import MatchFeature
from sail_features.match.family import columns_of
from sail_features.match.frame import answers_of
from sail_features.match.kernel import MatchResult
from sail_features.match.stream import count_similarities, iter_match_tables
from sail_features.schemas import TIMESTAMP
from sail_features.spark.bucket_files import bucket_of_task, write_bucket, write_buckets
from sail_features.spark.match_items import ItemFiles
from sail_features.spark.user_events import iter_run
from sail_features.tables import StagedPartition

COUNTED: Final = "counts array<bigint>"
REPEATING: Final = (
    *c.PAIR,
    c.AVAILABLE_AT,
    c.FEATURES_AVAILABLE_AT,
    c.CREATED,
    c.FEATURE_SET_ID,
    c.ENCODER_ID,
)


@dataclass(frozen=True)
class RowLineage:
    """What every row of a partition says of its making."""

    created: datetime
    feature_set_id: str
    encoder_id: str
    trained_until: datetime | None
    delay: timedelta = timedelta(0)
    """How much later a row is stamped than it was matched as of."""

    def add_to(self, table: pa.Table) -> pa.Table:
        """Return the rows with these columns; none is available before its features were."""
        if self.trained_until is not None:
            known = times_of(np.maximum(us_of(table[c.AVAILABLE_AT]), to_us(self.trained_until)))
            at = table.column_names.index(c.AVAILABLE_AT)
            table = table.set_column(at, c.AVAILABLE_AT, known)
        if self.delay:
            at = table.column_names.index(c.EVENT_TIMESTAMP)
            later = times_of(us_of(table[c.EVENT_TIMESTAMP]) + self.delay // MICROSECOND)
            table = table.set_column(at, c.EVENT_TIMESTAMP, later)
        table = table.append_column(c.FEATURES_AVAILABLE_AT, table[c.AVAILABLE_AT])
        for name, value in (
            (c.CREATED, pa.scalar(self.created, TIMESTAMP)),
            (c.FEATURE_SET_ID, pa.scalar(self.feature_set_id)),
            (c.ENCODER_ID, pa.scalar(self.encoder_id)),
        ):
            table = table.append_column(name, pa.repeat(value, table.num_rows))
        return table


@dataclass(frozen=True)
class MatchTask:
    """Computes features of a bucket's stream and writes them as one Parquet file.

    Parameters
    ----------
    items : the vectors and categories.
    runs : folders of the feedback that is kept by user.
    features, window : see `sail_features.match.kernel.compute_match`.
    lineage : what each row says of its making.
    folder : of the staged partition, on a file system that all machines mount.
    """

    items: ItemFiles
    runs: tuple[Path, ...]
    features: tuple[MatchFeature, ...]
    window: HistoryWindow
    lineage: RowLineage
    folder: Path

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write the file, and tell which bucket's it is."""
        numba.set_num_threads(1)  # a task is one core
        vectors, categories = self.items.open(bucket_of_task())
        tables = iter_match_tables(
            batches,
            vectors,
            self.features,
            self.window,
            category=categories,
            runs=[iter_run(run, bucket_of_task()) for run in self.runs],
        )
        return write_bucket(map(self.lineage.add_to, tables), self.folder, REPEATING)

    def no_rows(self, asked: pa.Table) -> pa.Table:
        """Return the table of a night on which nothing was asked."""
        nothing = np.empty(0, np.int64)
        values = np.empty((0, len(columns_of(self.features))), np.float32)
        answers = answers_of(asked, MatchResult(values, nothing, nothing), self.features)
        return self.lineage.add_to(answers)


@dataclass(frozen=True)
class CountTask:
    """Counts the similarities of a bucket's stream, for the edges of the histogram."""

    items: ItemFiles
    runs: tuple[Path, ...]
    window: HistoryWindow

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Return the counts as one row."""
        counts = count_similarities(
            batches,
            self.items.open(bucket_of_task())[0],
            self.window,
            runs=[iter_run(run, bucket_of_task()) for run in self.runs],
        )
        yield pa.RecordBatch.from_pydict({"counts": [counts]})


def write_matches(stream: DataFrame, task: MatchTask, partition: StagedPartition) -> None:
    """Run the task on each bucket of a stream, and take over the files that it wrote."""
    if not write_buckets(stream, task, partition.folder):
        partition.write(task.no_rows(stream.select(*c.PAIR).limit(0).toArrow()))
