"""Match features as people write them in Spark SQL: explode, join the vectors, aggregate.

Every (row, earlier event) pair becomes a row with both vectors on it. It computes some
thirty of the columns of the match job.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks.match_world import COLUMNS, WINDOW, World
from sail_features import columns as c
from sail_features.history import times_of

ROW: Final = "row_id"
VECTOR: Final = "vector"
NATIVE: Final = "vector_inner_product(h.vector, t.vector)"
BY_HAND: Final = (
    "aggregate(zip_with(h.vector, t.vector, (x, y) -> x * y), 0.0f, (total, x) -> total + x)"
)
BANDS: Final = ", ".join(
    f"count_if(weight > 0 AND similarity >= {(low - 5) / 5} AND similarity < {(low - 4) / 5}) "
    f"AS sim_tier_{low}"
    for low in range(10)
)
QUERY: Final = """
WITH seen AS (
  SELECT r.row_id, r.item_id AS target, r.event_timestamp AS moment, e.item_id, e.weight,
         (unix_micros(r.event_timestamp) - unix_micros(e.event_timestamp)) / 86400e6 AS age,
         row_number() OVER (PARTITION BY r.row_id
                            ORDER BY e.event_timestamp DESC, e.item_id DESC) AS place
  FROM asked r LEFT JOIN told e ON r.user_id = e.user_id
    AND e.event_timestamp < r.event_timestamp
    AND e.event_timestamp >= r.event_timestamp - INTERVAL {days} DAYS
), pairs AS (
  SELECT row_id, weight, age, {product} AS similarity, h.category = t.category AS same
  FROM seen JOIN items t ON target = t.item_id LEFT JOIN items h ON seen.item_id = h.item_id
  WHERE place <= {events}
)
SELECT row_id, count(similarity) AS history_count, count_if(weight > 0) AS history_liked,
  count_if(weight < 0) AS history_disliked, min(age) AS history_age_days,
  max(similarity) FILTER (WHERE weight > 0) AS sim_max,
  avg(similarity) FILTER (WHERE weight > 0) AS sim_mean,
  stddev_pop(similarity) FILTER (WHERE weight > 0) AS sim_std,
  sum(similarity * pow(0.5, age / 30)) FILTER (WHERE weight > 0)
    / sum(pow(0.5, age / 30)) FILTER (WHERE weight > 0) AS sim_recency_mean,
  sum(similarity * weight) FILTER (WHERE weight > 0)
    / sum(weight) FILTER (WHERE weight > 0) AS sim_weight_mean,
  max(similarity) FILTER (WHERE weight < 0) AS disliked_max,
  avg(similarity) FILTER (WHERE weight < 0) AS disliked_mean,
  avg(similarity) FILTER (WHERE age <= 7) AS recent_mean,
  count_if(same) AS category_count, avg(similarity) FILTER (WHERE same) AS category_mean,
  avg(weight) FILTER (WHERE same) AS category_feedback,
  slice(sort_array(collect_list(similarity), false), 1, 5) AS sim_top, {bands}
FROM pairs GROUP BY row_id
"""


def put_for_sql(world: World, folder: Path) -> None:
    """Write rows, events and items with their vectors as arrays of floats."""
    folder.mkdir(parents=True)
    rows, log = world.rows, world.log
    vectors = world.table.vectors.astype(np.float32)
    tables = {
        "asked": {
            ROW: np.arange(len(rows.user)),
            c.USER_ID: rows.user,
            c.ITEM_ID: rows.item,
            c.EVENT_TIMESTAMP: times_of(rows.as_of_us),
        },
        "told": {
            c.USER_ID: log.owner,
            c.ITEM_ID: log.item,
            c.EVENT_TIMESTAMP: times_of(log.time_us),
            c.WEIGHT: log.weight,
        },
        "items": {
            c.ITEM_ID: world.table.ids,
            c.CATEGORY: world.category,
            VECTOR: pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1]),
        },
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def has_product(spark: SparkSession) -> bool:
    """Tell whether this Spark knows ``vector_inner_product``."""
    return bool(spark.catalog.functionExists("vector_inner_product"))


def match_by_sql(spark: SparkSession, folder: Path) -> None:
    """Compute the features of what `put_for_sql` wrote, into ``folder/out``."""
    for name in ("asked", "told", "items"):
        spark.read.parquet(str(folder / f"{name}.parquet")).createOrReplaceTempView(name)
    query = QUERY.format(
        days=WINDOW.lookback.days,
        events=WINDOW.max_events,
        product=NATIVE if has_product(spark) else BY_HAND,
        bands=BANDS,
    )
    spark.sql(query).write.mode("overwrite").parquet(str(folder / "out"))


def check_sql(world: World, folder: Path) -> None:
    """Compare what was written with the kernel's numbers, for the columns of equal meaning."""
    found = pq.read_table(folder / "out").sort_by(ROW)
    expected = world.match()
    for name in ("sim_max", "sim_mean", "sim_weight_mean", "history_count", "category_count"):
        known = expected[found[ROW].to_numpy(), COLUMNS.index(name)]
        there = found[name].to_numpy(zero_copy_only=False).astype(np.float32)
        np.testing.assert_allclose(there, known, rtol=1e-3, atol=1e-4, err_msg=name)
