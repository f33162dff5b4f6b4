"""The history job: each user's newest events before ``as_of``, for serving.

One row a user with the ids, times and signed weights of the newest
``history.max_events``, oldest first. Item vectors are not in it: a server finds
them in its own table, and a history stays below 2 KB.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import HistoryConfig, SailConfig
from sail_features.manifest import Manifest
from sail_features.schemas import USER_HISTORY
from sail_features.spark.inputs import read_feedback, write_partition
from sail_features.tables import TableStore


def run_history(
    spark: SparkSession, store: TableStore, config: SailConfig, *, as_of: datetime
) -> Manifest:
    """Write the histories of all users with an event in [as_of - lookback, as_of).

    Raises
    ------
    MissingTableError
        Nothing was imported.
    """
    events, impressions = (store.covering(name, as_of) for name in ("events", "impressions"))
    feedback = read_feedback(spark, store, events, impressions, config.history)
    with store.replace_partition(
        USER_HISTORY.name,
        as_of,
        inputs=[m.as_input() for m in (*events, *impressions)],
        config={"history": config.history.model_dump(mode="json"), "buckets": config.spark.buckets},
    ) as partition:
        histories = newest_events(feedback, as_of, config.history)
        write_partition(
            histories.withColumn(c.EVENT_TIMESTAMP, f.lit(as_of))
            .withColumn(c.AVAILABLE_AT, f.lit(as_of))
            .withColumn(c.CREATED, f.lit(partition.created))
            .repartition(config.spark.buckets, c.USER_ID)
            .sortWithinPartitions(c.USER_ID),
            partition,
        )
        partition.lineage.update(
            lookback_days=config.history.lookback_days, max_events=config.history.max_events
        )
    return store.latest(USER_HISTORY.name, as_of)


def newest_events(feedback: DataFrame, as_of: datetime, config: HistoryConfig) -> DataFrame:
    """Return one row a user: item ids, times in microseconds and weights, oldest first."""
    start = as_of - timedelta(days=config.lookback_days)
    order = (c.EVENT_TIMESTAMP, c.ITEM_ID, c.WEIGHT)
    newest = Window.partitionBy(c.USER_ID).orderBy(*(f.col(name).desc() for name in order))
    events = (
        feedback.where(
            (f.col(c.EVENT_TIMESTAMP) >= f.lit(start)) & (f.col(c.EVENT_TIMESTAMP) < f.lit(as_of))
        )
        .withColumn("_rank", f.row_number().over(newest))
        .where(f.col("_rank") <= config.max_events)
    )
    event = f.struct(
        f.unix_micros(c.EVENT_TIMESTAMP).alias(c.HISTORY_TIMES),
        f.col(c.ITEM_ID).alias(c.HISTORY_ITEM_IDS),
        f.col(c.WEIGHT).alias(c.HISTORY_WEIGHTS),
    )
    listed = events.groupBy(c.USER_ID).agg(f.sort_array(f.collect_list(event)).alias("events"))
    names = (c.HISTORY_ITEM_IDS, c.HISTORY_TIMES, c.HISTORY_WEIGHTS)
    return listed.select(c.USER_ID, *(f.col(f"events.{name}").alias(name) for name in names))
