"""Runs a function of Arrow tables on rows and events that share a hash bucket of an id."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as f
from pyspark.sql.types import DataType, StructField, StructType

from sail_features import columns as c

Compute = Callable[[pa.Table, pa.Table], pa.Table]


def apply_by_bucket(
    key: str, rows: DataFrame, events: DataFrame, compute: Compute, out: StructType, buckets: int
) -> DataFrame:
    """Return ``compute(rows, events)`` of each bucket, put together.

    A bucket is one task: its rows and events must fit in a worker's memory. A group
    a bucket costs a hundredth of a group a user (`match_facts.md` 1.2).
    """
    bucket = f.pmod(f.xxhash64(key), f.lit(buckets)).cast("int").alias("bucket")
    return rows.groupBy(bucket).cogroup(events.groupBy(bucket)).applyInArrow(compute, out)


def with_pair(rows: DataFrame, added: Sequence[tuple[str, DataType]]) -> StructType:
    """Return the schema of a pair's key, with its ids' types, followed by ``added``."""
    key = rows.select(*c.PAIR).schema.fields
    return StructType([*key, *(StructField(name, kind) for name, kind in added)])
