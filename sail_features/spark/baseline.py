"""The baseline job: ordinary point-in-time features to ``user_item_baseline``.

User features are computed in hash buckets of users, item features in hash buckets
of items, and both are joined on the row. An item with very many events makes a
large bucket: raise ``spark.buckets``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import FloatType, TimestampType

from sail_features import columns as c
from sail_features.baseline.features import ITEM_COLUMNS, USER_COLUMNS, baseline_id
from sail_features.baseline.frame import (
    ITEM_TIME,
    NEWEST,
    compute_item_table,
    compute_user_table,
)
from sail_features.config import BaselineConfig, SailConfig
from sail_features.manifest import Manifest
from sail_features.schemas import USER_ITEM_BASELINE
from sail_features.spark.buckets import apply_by_bucket, with_pair
from sail_features.spark.inputs import (
    latest_items,
    read_feedback,
    read_partitions,
    rows_to_match,
    write_partition,
)
from sail_features.tables import TableStore

Compute = Callable[[pa.Table, pa.Table, BaselineConfig], pa.Table]


def run_baseline(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    *,
    as_of: datetime,
    since: datetime | None = None,
) -> Manifest:
    """Compute the baseline features of the impressions in [since, as_of).

    Raises
    ------
    MissingTableError
        Nothing was imported.
    """
    read = {table: store.covering(table, as_of) for table in ("items", "events", "impressions")}
    items = _attributes(latest_items(read_partitions(spark, store, read["items"]), as_of))
    feedback = read_feedback(spark, store, read["events"], read["impressions"], config.history)
    impressions = read_partitions(spark, store, read["impressions"])
    pairs = rows_to_match(impressions, since, config.history).distinct()
    pairs = pairs.join(items, c.ITEM_ID, "left")
    # toDF gives the columns new identities: Spark can't tell two joins of one frame apart.
    feedback = feedback.join(items.toDF(*items.columns), c.ITEM_ID, "left")
    with store.replace_partition(
        USER_ITEM_BASELINE.name,
        as_of,
        since=since,
        inputs=[m.as_input() for parts in read.values() for m in parts],
        config={
            **{s: getattr(config, s).model_dump(mode="json") for s in ("history", "baseline")},
            "buckets": config.spark.buckets,
        },
    ) as partition:
        by_user = _by_bucket(c.USER_ID, pairs, feedback, compute_user_table, USER_COLUMNS, config)
        by_item = _by_bucket(c.ITEM_ID, pairs, feedback, compute_item_table, ITEM_COLUMNS, config)
        write_partition(_assemble(pairs, by_user, by_item, partition.created, config), partition)
        partition.lineage.update(feature_set_id=baseline_id(config.baseline))
    return store.latest(USER_ITEM_BASELINE.name, as_of)


def _attributes(items: DataFrame) -> DataFrame:
    """Return the columns of an item that baseline features use, null where there are none."""
    present = set(items.columns)
    category = f.col(c.CATEGORY) if c.CATEGORY in present else f.lit(None)
    price = f.col(c.PRICE) if c.PRICE in present else f.lit(None)
    return items.select(
        c.ITEM_ID,
        category.cast("string").alias(c.CATEGORY),
        price.cast("float").alias(c.PRICE),
        f.col(c.EVENT_TIMESTAMP).alias(ITEM_TIME),
    )


def _by_bucket(
    key: str,
    pairs: DataFrame,
    feedback: DataFrame,
    compute: Compute,
    columns: Sequence[str],
    config: SailConfig,
) -> DataFrame:
    """Run ``compute`` on rows and events that share a hash bucket of ``key``."""
    baseline = config.baseline

    def task(rows: pa.Table, events: pa.Table) -> pa.Table:
        return compute(rows, events, baseline)

    out = with_pair(pairs, [(name, FloatType()) for name in columns] + [(NEWEST, TimestampType())])
    return apply_by_bucket(key, pairs, feedback, task, out, config.spark.buckets)


def _assemble(
    pairs: DataFrame,
    by_user: DataFrame,
    by_item: DataFrame,
    created: datetime,
    config: SailConfig,
) -> DataFrame:
    joined = (
        by_user.withColumnRenamed(NEWEST, "_user_newest")
        .join(by_item.withColumnRenamed(NEWEST, "_item_newest"), list(c.PAIR))
        .join(pairs.select(*c.PAIR, c.CATEGORY, ITEM_TIME), list(c.PAIR))
    )
    return (
        joined.withColumn(c.AVAILABLE_AT, f.greatest(c.EVENT_TIMESTAMP, ITEM_TIME))
        .withColumn(c.FEATURES_AVAILABLE_AT, f.col(c.AVAILABLE_AT))
        .withColumn(c.FEATURE_TIME, f.greatest("_user_newest", "_item_newest"))
        .withColumn(c.CREATED, f.lit(created))
        .withColumn(c.FEATURE_SET_ID, f.lit(baseline_id(config.baseline)))
        .drop("_user_newest", "_item_newest", ITEM_TIME)
        .repartition(config.spark.buckets, c.USER_ID)
        .sortWithinPartitions(*c.PAIR)
    )
