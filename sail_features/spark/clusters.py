"""The clusters job: likes to ``user_cluster``, one row each time a user's histograms change.

Histograms over global clusters at two levels (`interests/cluster_histogram.py`), which all
users share. The clusters are fitted once and kept (`spark/cluster_fit.py`); a row is never
available before they were. Nights go on from one another as those of the interests job do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import (
    ArrayType,
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
from sail_features.interests.cluster_frame import ClusteredItems, iter_cluster_tables
from sail_features.interests.global_clusters import GlobalClusters
from sail_features.item_vectors import open_item_vectors
from sail_features.manifest import Manifest
from sail_features.schemas import USER_CLUSTER
from sail_features.spark.cluster_fit import (
    Fit,
    choose_fit,
    keep_clusters,
    keep_item_clusters,
    read_liked,
)
from sail_features.spark.inputs import write_partition
from sail_features.spark.snapshots import (
    by_bucket,
    check_goes_on,
    snapshot_times,
    vectors_and_changes,
    within_reach,
)
from sail_features.tables import TableStore

TABLE: Final = USER_CLUSTER.name
INPUTS: Final = ("events", "item_embedding")


def run_clusters(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    *,
    as_of: datetime,
    since: datetime | None = None,
    every: timedelta | None = None,
    fit_until: datetime | None = None,
) -> Manifest:
    """Count the likes of all users whose history changed in [since, as_of) by cluster.

    Parameters
    ----------
    as_of : exclusive end of the events; also the partition's name, and the last snapshot.
    since : where an earlier run ended, to go on from there. None begins with the first event.
    every : also take snapshots at ``as_of - every``, ``as_of - 2 every`` and so on, after
        ``since``, so that training rows find those of their own day. None: ``as_of`` only.
    fit_until : fit the clusters on items known, and likes, before this time. None keeps those
        of the newest earlier partition; where there is none, they are fitted until ``as_of``.

    Raises
    ------
    MissingTableError
        Items were not encoded, or nothing was imported.
    InputError
        There is nothing to go on from at ``since``, or it was made from other data, with
        other settings or other clusters; there is too little to fit clusters on; or
        ``fit_until`` lies after ``as_of``, or is given with ``since``.
    """
    inputs = [m.as_input() for name in INPUTS for m in store.covering(name, as_of)]
    encoder_id = build_encoder(config.encoder).encoder_id
    fit = choose_fit(
        store,
        encoder_id,
        config.interests.clusters,
        as_of=as_of,
        since=since,
        fit_until=fit_until,
    )
    settings = _settings(config, fit)
    check_goes_on(store, TABLE, since, as_of, settings, inputs)
    times = snapshot_times(as_of, since, every)
    vectors, changed = vectors_and_changes(store, encoder_id, as_of, since)
    kept = keep_clusters(spark, store, fit)
    clusters = GlobalClusters.load(kept)
    assigned = keep_item_clusters(store, vectors, clusters)

    def count(bucket: pa.Table) -> Iterator[pa.Table]:
        code = np.load(assigned, mmap_mode="r", allow_pickle=False)
        items = ClusteredItems(open_item_vectors(vectors), GlobalClusters.load(kept), code)
        return iter_cluster_tables(bucket, items, times, config.interests, changed)

    shape = settings | {
        c.CLUSTER_VERSION: clusters.version,
        "every_us": times.every_us,
        "buckets": config.spark.buckets,
    }
    with store.replace_partition(
        TABLE, as_of, since=since, inputs=inputs, config=shape
    ) as partition:
        liked = read_liked(spark, store, as_of)
        reached = within_reach(liked, as_of, since, config.interests.lookback_days)
        write_partition(
            by_bucket(reached, count, _schema(liked), config.spark.buckets)
            .withColumn(c.CREATED, f.lit(partition.created))
            .withColumn(c.ENCODER_ID, f.lit(encoder_id))
            .withColumn(c.CLUSTER_VERSION, f.lit(clusters.version)),
            partition,
        )
        partition.lineage.update(
            settings,
            cluster_version=clusters.version,
            fitted_as_of=fit.as_of.isoformat(),
            every_s=every.total_seconds() if every else None,
        )
    return store.latest(TABLE, as_of)


def _settings(config: SailConfig, fit: Fit) -> dict[str, Any]:
    """Return everything beside inputs and times that shapes the rows."""
    return {
        **config.interests.clusters.model_dump(mode="json"),
        "lookback_days": config.interests.lookback_days,
        "half_life_days": config.interests.half_life_days,
        c.ENCODER_ID: fit.encoder_id,
        "trained_until": fit.until.isoformat(),
    }


def _schema(liked: DataFrame) -> StructType:
    """Return the columns that `iter_cluster_tables` makes, with the ids' own type."""
    level = (IntegerType(), IntegerType(), FloatType(), LongType())
    primary = (c.PRIMARY_CLUSTERS, c.PRIMARY_COUNTS, c.PRIMARY_WEIGHTS, c.PRIMARY_TIMES)
    secondary = (c.SECONDARY_CLUSTERS, c.SECONDARY_COUNTS, c.SECONDARY_WEIGHTS, c.SECONDARY_TIMES)
    lists = [*zip(primary, level, strict=True), *zip(secondary, level, strict=True)]
    return StructType(
        [
            liked.schema[c.USER_ID],
            StructField(c.EVENT_TIMESTAMP, TimestampType()),
            StructField(c.AVAILABLE_AT, TimestampType()),
            *(StructField(name, ArrayType(kind)) for name, kind in lists),
            StructField(c.LONG_TAIL_CLUSTERS, ArrayType(IntegerType())),
        ]
    )
