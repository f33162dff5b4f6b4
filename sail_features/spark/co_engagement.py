"""The pairs job: items that the same users engaged with, to ``item_pair``.

Two sources. *Co-engagement*: a user engaged with both within a window of time. *Session*:
both in one session, where events carry a ``session_id``. Where they carry the
``search_query`` that led to them, searches and what was taken after them go to
``search_pair``. Only positive events strictly before ``trained_until`` count.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3, table 1; `sail_method.md` 1.2): pairs arise from
co-occurrence in users' behaviour and from searches. Window, least support and the measure
of strength (the users of both over the geometric mean of each one's) are chosen here; the
paper tells none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import PairConfig, SailConfig
from sail_features.errors import InputError
from sail_features.manifest import Manifest
from sail_features.schemas import ITEM_PAIR, SEARCH_PAIR, TableSchema
from sail_features.spark.inputs import read_partitions, write_partition
from sail_features.tables import TableStore

CO_ENGAGEMENT: Final = "co_engagement"
SESSION: Final = "session"
_US_PER_HOUR: Final = 3_600_000_000


def run_pairs(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    *,
    as_of: datetime,
    trained_until: datetime | None = None,
) -> Manifest:
    """Mine the pairs of all events before ``trained_until``.

    Parameters
    ----------
    as_of : of the events that are read.
    trained_until : exclusive end of those that count, at most ``as_of``; also the
        partition's name. None is ``as_of``.

    Raises
    ------
    MissingTableError
        Nothing was imported.
    InputError
        No pair has the support asked for.
    """
    settings, parts = config.pairs, store.covering("events", as_of)
    until = as_of if trained_until is None else min(trained_until, as_of)
    events = read_partitions(spark, store, parts)
    pairs = mine_pairs(events, settings, trained_until=until).cache()
    if pairs.isEmpty():
        raise InputError.say(
            "events",
            f"no two items share {settings.min_support} users within "
            f"{settings.window_hours:g} hours",
            hint="lower min_support, widen window_hours, or import more events",
        )
    found = {ITEM_PAIR: pairs}
    if c.SEARCH_QUERY in events.columns:
        found[SEARCH_PAIR] = mine_searches(events, settings, trained_until=until)
    for schema, rows in found.items():
        _publish(store, schema, rows, settings, parts, until)
    pairs.unpersist()
    return store.latest(ITEM_PAIR.name, until)


def _publish(
    store: TableStore,
    schema: TableSchema,
    rows: DataFrame,
    settings: PairConfig,
    parts: Sequence[Manifest],
    until: datetime,
) -> None:
    with store.replace_partition(
        schema.name,
        until,
        inputs=[manifest.as_input() for manifest in parts],
        config=settings.model_dump(mode="json"),
    ) as partition:
        stamped = rows.withColumns(
            {
                c.EVENT_TIMESTAMP: f.lit(until),
                c.AVAILABLE_AT: f.lit(until),
                c.CREATED: f.lit(partition.created),
            }
        )
        write_partition(stamped.coalesce(1).sortWithinPartitions(*schema.key), partition)
        partition.lineage.update(trained_until=until.isoformat(), **settings.model_dump())


def mine_pairs(events: DataFrame, settings: PairConfig, *, trained_until: datetime) -> DataFrame:
    """Return the pairs of both sources: each once, the smaller id first.

    Parameters
    ----------
    events : `sail_features.schemas.EVENTS`, and perhaps ``session_id``.
    """
    seen = _positive(events, trained_until)
    newest = Window.partitionBy(c.USER_ID).orderBy(
        f.col(c.EVENT_TIMESTAMP).desc(), f.col(c.ITEM_ID).desc()
    )
    seen = seen.withColumn("_rank", f.row_number().over(newest))
    seen = seen.where(f.col("_rank") <= settings.max_events).drop("_rank")
    window_us = round(settings.window_hours * _US_PER_HOUR)
    apart = f.abs(
        f.unix_micros(f.col(f"one.{c.EVENT_TIMESTAMP}"))
        - f.unix_micros(f.col(f"other.{c.EVENT_TIMESTAMP}"))
    )
    found = _pair_up(seen, apart <= window_us, settings, CO_ENGAGEMENT)
    if c.SESSION_ID not in events.columns:
        return found
    same = f.col(f"one.{c.SESSION_ID}") == f.col(f"other.{c.SESSION_ID}")
    return found.unionByName(_pair_up(seen, same, settings, SESSION))


def mine_searches(events: DataFrame, settings: PairConfig, *, trained_until: datetime) -> DataFrame:
    """Return searches and the items that users engaged with after them.

    Parameters
    ----------
    events : with a column ``search_query``, null where an event followed no search.

    Returns
    -------
    search_query (trimmed, in lower case), item_id and support: how many users.

    Raises
    ------
    InputError
        Events carry no searches.
    """
    if c.SEARCH_QUERY not in events.columns:
        raise InputError.missing_column("events", c.SEARCH_QUERY, events.columns)
    asked = f.lower(f.trim(f.col(c.SEARCH_QUERY)))
    return (
        _positive(events, trained_until)
        .withColumn(c.SEARCH_QUERY, asked)
        .where(f.length(c.SEARCH_QUERY) > 0)
        .groupBy(c.SEARCH_QUERY, c.ITEM_ID)
        .agg(f.countDistinct(c.USER_ID).cast("int").alias(c.SUPPORT))
        .where(f.col(c.SUPPORT) >= settings.min_support)
    )


def _positive(events: DataFrame, trained_until: datetime) -> DataFrame:
    return events.where((f.col(c.EVENT_TIMESTAMP) < f.lit(trained_until)) & (f.col(c.WEIGHT) > 0))


def _pair_up(seen: DataFrame, together: Column, settings: PairConfig, source: str) -> DataFrame:
    """Return the pairs of events of one user that are ``together``, with support and strength."""
    one, other = seen.alias("one"), seen.alias("other")
    first, second = f.col(f"one.{c.ITEM_ID}"), f.col(f"other.{c.ITEM_ID}")
    same_user = f.col(f"one.{c.USER_ID}") == f.col(f"other.{c.USER_ID}")
    supported = (
        one.join(other, same_user & (first < second) & together)
        .select(first.alias(c.ITEM_ID), second.alias(c.OTHER_ITEM_ID), f"one.{c.USER_ID}")
        .distinct()
        .groupBy(c.ITEM_ID, c.OTHER_ITEM_ID)
        .agg(f.count("*").cast("int").alias(c.SUPPORT))
        .where(f.col(c.SUPPORT) >= settings.min_support)
    )
    users = seen.groupBy(c.ITEM_ID).agg(f.countDistinct(c.USER_ID).alias("users"))
    of_other = users.toDF(c.OTHER_ITEM_ID, "other_users")
    strength = f.col(c.SUPPORT) / f.sqrt(f.col("users") * f.col("other_users"))
    return (
        supported.join(users, c.ITEM_ID)
        .join(of_other, c.OTHER_ITEM_ID)
        .withColumn(c.STRENGTH, strength.cast("float"))
        .select(c.ITEM_ID, c.OTHER_ITEM_ID, c.SUPPORT, c.STRENGTH)
        .transform(lambda pairs: _strongest(pairs, settings.max_partners))
        .withColumn(c.PAIR_SOURCE, f.lit(source))
    )


def _strongest(pairs: DataFrame, partners: int) -> DataFrame:
    """Return the pairs that are among the strongest of either of their items."""
    swapped = {c.ITEM_ID: f.col(c.OTHER_ITEM_ID), c.OTHER_ITEM_ID: f.col(c.ITEM_ID)}
    directed = pairs.unionByName(pairs.withColumns(swapped))
    order = (f.col(c.STRENGTH).desc(), f.col(c.SUPPORT).desc(), f.col(c.OTHER_ITEM_ID))
    rank = f.row_number().over(Window.partitionBy(c.ITEM_ID).orderBy(*order))
    kept = directed.withColumn("_rank", rank).where(f.col("_rank") <= partners).drop("_rank")
    one, other = f.least(c.ITEM_ID, c.OTHER_ITEM_ID), f.greatest(c.ITEM_ID, c.OTHER_ITEM_ID)
    return kept.withColumns({c.ITEM_ID: one, c.OTHER_ITEM_ID: other}).distinct()
