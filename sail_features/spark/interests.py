"""The interests job: feedback to ``user_interest``, one row each time a user's interests change.

Only ids and times are shuffled, by a hash bucket of the user; vectors come from the
memory-mapped copy of ``item_embedding``. A row holds until the user's next one, so a
nightly run with ``since`` writes the users whose history changed and no others, and the
partitions together hold what one run over everything would (`interests/changes.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import pyarrow as pa
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
from sail_features.interests.frame import iter_interest_tables
from sail_features.item_vectors import open_item_vectors
from sail_features.manifest import Manifest
from sail_features.schemas import USER_INTEREST
from sail_features.spark.inputs import read_feedback, write_partition
from sail_features.spark.snapshots import (
    by_bucket,
    check_goes_on,
    snapshot_times,
    vectors_and_changes,
    within_reach,
)
from sail_features.tables import TableStore

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
    check_goes_on(store, TABLE, since, as_of, settings, inputs)
    times = snapshot_times(as_of, since, every)
    with store.replace_partition(
        TABLE,
        as_of,
        since=since,
        inputs=inputs,
        config=settings | {"every_us": times.every_us, "buckets": config.spark.buckets},
    ) as partition:
        vectors, changed = vectors_and_changes(store, settings["encoder_id"], as_of, since)
        dim = open_item_vectors(vectors).dim
        feedback = read_feedback(
            spark, store, parts["events"], parts["impressions"], config.history
        )

        def mine(bucket: pa.Table) -> Iterator[pa.Table]:
            table = open_item_vectors(vectors)
            return iter_interest_tables(
                bucket, table, times, config.interests, config.history, changed
            )

        days = max(config.interests.lookback_days, config.history.lookback_days)
        reached = within_reach(feedback, as_of, since, days)
        write_partition(
            by_bucket(reached, mine, _schema(feedback), config.spark.buckets)
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
        "interests": config.interests.model_dump(mode="json", exclude={"clusters"}),
        "history": config.history.model_dump(mode="json"),
        "encoder_id": build_encoder(config.encoder).encoder_id,
    }


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
