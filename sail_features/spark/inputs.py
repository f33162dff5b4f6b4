"""Reads tables as data frames, and joins events and impressions into feedback."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import HistoryConfig
from sail_features.manifest import Manifest
from sail_features.tables import StagedPartition, TableStore

FEEDBACK = (c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.WEIGHT)


def read_partitions(spark: SparkSession, store: TableStore, parts: Sequence[Manifest]) -> DataFrame:
    """Return the rows of these partitions, and of no other file."""
    return spark.read.parquet(*(spark_path(Path(name)) for name in store.files(parts)))


def spark_path(path: Path) -> str:
    """Return the form in which Spark reads a mounted path, whatever its default file system."""
    return f"file://{path.absolute()}"


def latest_items(
    items: DataFrame, as_of: datetime, newest_by: Sequence[str] = (c.EVENT_TIMESTAMP,)
) -> DataFrame:
    """Return each item's newest row before ``as_of``."""
    newest = Window.partitionBy(c.ITEM_ID).orderBy(*(f.col(name).desc() for name in newest_by))
    return (
        items.where(f.col(c.EVENT_TIMESTAMP) < f.lit(as_of))
        .withColumn("_rank", f.row_number().over(newest))
        .where("_rank = 1")
        .drop("_rank")
    )


def read_feedback(
    spark: SparkSession,
    store: TableStore,
    events: Sequence[Manifest],
    impressions: Sequence[Manifest],
    config: HistoryConfig,
) -> DataFrame:
    """Return all signed feedback: the events, and what was shown and passed over.

    An unclicked impression counts only if it was really shown (sampled negatives
    never do) and no event tells what the user made of it: one of the same user, item
    and moment.
    """
    told = read_told(spark, store, events)
    unclicked = read_unclicked(spark, store, impressions, config)
    if unclicked is None:
        return told
    return told.unionByName(
        unclicked.join(told, [c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP], "left_anti")
    )


def read_told(
    spark: SparkSession, store: TableStore, events: Sequence[Manifest], *, types: bool = False
) -> DataFrame:
    """Return the events as feedback, with the type of each where ``types`` are asked for."""
    columns = (*FEEDBACK, c.EVENT_TYPE) if types else FEEDBACK
    return read_partitions(spark, store, events).select(*columns)


def read_unclicked(
    spark: SparkSession,
    store: TableStore,
    impressions: Sequence[Manifest],
    config: HistoryConfig,
    *,
    types: bool = False,
) -> DataFrame | None:
    """Return logged impressions without a click as feedback, of the type "unclicked".

    Those that an event tells more of are among them: they don't count. None where
    nothing was logged, or where ``unclicked_weight`` says that none count.
    """
    logged = [m for m in impressions if m.lineage.get("negatives") == "logged"]
    if config.unclicked_weight is None or not logged:
        return None
    columns = (*FEEDBACK, c.EVENT_TYPE) if types else FEEDBACK
    return (
        read_partitions(spark, store, logged)
        .where(f.col(c.LABEL) == 0)
        .withColumn(c.WEIGHT, f.lit(config.unclicked_weight).cast("float"))
        .withColumn(c.EVENT_TYPE, f.lit("unclicked"))
        .select(*columns)
    )


def rows_to_match(
    impressions: DataFrame, since: datetime | None, config: HistoryConfig
) -> DataFrame:
    """Return the (user, item, moment) to compute features for; they may repeat.

    The moment is the impression's time less the lag; ``since`` cuts impressions.
    """
    if since is not None:
        impressions = impressions.where(f.col(c.EVENT_TIMESTAMP) >= f.lit(since))
    lag_us = round(config.lag_s * 1e6)
    moment = f.timestamp_micros(f.unix_micros(c.EVENT_TIMESTAMP) - f.lit(lag_us))
    return impressions.select(c.USER_ID, c.ITEM_ID, moment.alias(c.EVENT_TIMESTAMP))


def write_partition(frame: DataFrame, partition: StagedPartition) -> None:
    """Write a data frame into a staged partition; its publisher settles the files."""
    # A dictionary of vectors that never repeat only costs time.
    writer = frame.write.mode("append").option("parquet.enable.dictionary#embedding", "false")
    writer.parquet(spark_path(partition.folder))
