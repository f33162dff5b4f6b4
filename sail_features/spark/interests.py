"""The interests job: feedback to ``user_interest``, one row each time a user's interests change.

Only ids and times are shuffled, by a hash bucket of the user; vectors come from the
memory-mapped copy of ``item_embedding``. A row holds until the user's next one, so a
nightly run with ``since`` writes the users whose history changed and no others, and the
partitions together hold what one run over everything would (`interests/changes.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    FloatType,
    IntegerType,
    LongType,
    StructField,
    StructType,
    TimestampType,
)

from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.encoders.catalogue import build_encoder
from sail_features.errors import InputError
from sail_features.history import MICROSECOND, to_us
from sail_features.interests.changes import ALWAYS_US, SnapshotTimes, find_changed_vectors
from sail_features.interests.frame import iter_interest_tables
from sail_features.item_vectors import derive_item_vectors, open_item_vectors
from sail_features.manifest import InputRef, Manifest
from sail_features.schemas import USER_INTEREST
from sail_features.spark.inputs import read_feedback, write_partition
from sail_features.tables import TableStore, format_as_of

TABLE: Final = USER_INTEREST.name
INPUTS: Final = ("events", "impressions", "item_embedding")


def run_interests(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    *,
    as_of: datetime,
    since: datetime | None = None,
    every: timedelta | None = None,
) -> Manifest:
    """Mine the interests of all users whose history changed in [since, as_of).

    Parameters
    ----------
    as_of : exclusive end of the events; also the partition's name, and the last snapshot.
    since : where an earlier run ended, to go on from there. None begins with the first event.
    every : also take snapshots at ``as_of - every``, ``as_of - 2 every`` and so on, after
        ``since``, so that training rows find those of their own day. None: ``as_of`` only.

    Raises
    ------
    MissingTableError
        Items were not encoded, or nothing was imported.
    InputError
        There is nothing to go on from at ``since``, or it was made from other data or
        with other settings.
    """
    parts = {name: store.covering(name, as_of) for name in INPUTS}
    inputs = [m.as_input() for manifests in parts.values() for m in manifests]
    settings = _settings(config)
    if since is not None:
        _check_goes_on(store, since, as_of, settings, inputs)
    times = SnapshotTimes(
        as_of_us=to_us(as_of),
        every_us=every // MICROSECOND if every else ALWAYS_US,
        since_us=to_us(since) if since else None,
    )
    with store.replace_partition(
        TABLE,
        as_of,
        since=since,
        inputs=inputs,
        config=settings | {"every_us": times.every_us, "buckets": config.spark.buckets},
    ) as partition:
        vectors, changed = _vectors(store, settings["encoder_id"], as_of, since)
        dim = open_item_vectors(vectors).dim
        feedback = read_feedback(
            spark, store, parts["events"], parts["impressions"], config.history
        )
        reached = _within_reach(feedback, as_of, since, config)
        write_partition(
            _mine_by_bucket(reached, vectors, times, changed, config)
            .withColumn(c.CREATED, f.lit(partition.created))
            .withColumn(c.DIM, f.lit(dim))
            .withColumn(c.ENCODER_ID, f.lit(settings["encoder_id"])),
            partition,
        )
        partition.lineage.update(
            encoder_id=settings["encoder_id"],
            dim=dim,
            every_s=every.total_seconds() if every else None,
            **settings["interests"],
        )
    return store.latest(TABLE, as_of)


def _settings(config: SailConfig) -> dict[str, Any]:
    """Return everything beside inputs and times that shapes the rows."""
    return {
        "interests": config.interests.model_dump(mode="json"),
        "history": config.history.model_dump(mode="json"),
        "encoder_id": build_encoder(config.encoder).encoder_id,
    }


def _check_goes_on(
    store: TableStore,
    since: datetime,
    as_of: datetime,
    settings: dict[str, Any],
    inputs: list[InputRef],
) -> None:
    """Raise where the snapshots until ``since`` rest on other inputs or settings."""
    where = f"interests --since {format_as_of(since)}"
    complete = {manifest.as_of: manifest for manifest in store.manifests(TABLE)}
    earlier = complete.get(since)
    if since >= as_of:
        problem = f"isn't before --as-of {format_as_of(as_of)}"
    elif earlier is None:
        ends = ", ".join(format_as_of(end) for end in complete) or "nowhere"
        problem = f"no snapshots end there; those that exist end at {ends}"
    elif any(earlier.config[name] != value for name, value in settings.items()):
        problem = "the snapshots until then were made with other settings"
    elif not set(earlier.inputs) <= set(inputs):
        again = sorted({ref.table for ref in set(earlier.inputs) - set(inputs)})
        problem = f"{', '.join(again)} of before then were written again"
    else:
        return
    raise InputError.say(where, problem, hint="run without --since, or give another one")


def _vectors(
    store: TableStore, encoder_id: str, as_of: datetime, since: datetime | None
) -> tuple[Path, NDArray[np.bool_] | None]:
    """Return the folder of the items' vectors, and which of them the run before didn't have."""
    folder = derive_item_vectors(store, encoder_id, as_of)
    if since is None:
        return folder, None
    before = open_item_vectors(derive_item_vectors(store, encoder_id, since))
    return folder, find_changed_vectors(before, open_item_vectors(folder))


def _within_reach(
    feedback: DataFrame, as_of: datetime, since: datetime | None, config: SailConfig
) -> DataFrame:
    """Return the events that a snapshot after ``since``, or the one at it, may see."""
    seen = feedback.where(f.col(c.EVENT_TIMESTAMP) < f.lit(as_of))
    if since is None:
        return seen
    days = max(config.interests.lookback_days, config.history.lookback_days)
    return seen.where(f.col(c.EVENT_TIMESTAMP) >= f.lit(since - timedelta(days=days)))


def _mine_by_bucket(
    feedback: DataFrame,
    vectors: Path,
    times: SnapshotTimes,
    changed: NDArray[np.bool_] | None,
    config: SailConfig,
) -> DataFrame:
    """Return the rows of all users; a bucket's ids must fit in a task's memory."""

    def mine(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numba.set_num_threads(1)  # a task is one core
        bucket = pa.Table.from_batches(batches)
        table = open_item_vectors(vectors)
        for found in iter_interest_tables(
            bucket, table, times, config.interests, config.history, changed
        ):
            yield from found.to_batches()

    bucket = f.pmod(f.xxhash64(c.USER_ID), f.lit(config.spark.buckets)).cast("int").alias("bucket")
    return feedback.groupBy(bucket).applyInArrow(mine, _schema(feedback))


def _schema(feedback: DataFrame) -> StructType:
    """Return the columns that `iter_interest_tables` makes, with the ids' own types."""
    user, item = feedback.schema[c.USER_ID], feedback.schema[c.ITEM_ID]
    return StructType(
        [
            user,
            StructField(c.EVENT_TIMESTAMP, TimestampType()),
            StructField(c.AVAILABLE_AT, TimestampType()),
            StructField(c.INTEREST_VECTORS, BinaryType()),
            StructField(c.INTEREST_WEIGHTS, ArrayType(FloatType())),
            StructField(c.INTEREST_MEDOIDS, ArrayType(item.dataType)),
            StructField(c.INTEREST_SIZES, ArrayType(IntegerType())),
            StructField(c.INTEREST_TIMES, ArrayType(LongType())),
            StructField(c.INTEREST_FEEDBACK, ArrayType(FloatType())),
        ]
    )
