"""What the match job asks and what happened, as one sorted stream a bucket of users.

Ids, times and weights are shuffled by a hash of the user and sorted within each bucket
by Spark, which spills to disk what doesn't fit: neither a bucket nor a user has to fit
in anybody's memory. `sail_features.match.stream` says what a row of the stream is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f
from pyspark.sql.types import DataType

from sail_features import columns as c
from sail_features.match.stream import ASKED, EVENT, INTEREST, KIND, MINED, ORDER, UNCLICKED, WHAT


@dataclass(frozen=True)
class Past:
    """All that rows may look back on.

    Parameters
    ----------
    told : events, with the columns of `sail_features.spark.inputs.FEEDBACK` and, where
        features ask for it, the event's type; None where they are kept by user.
    unclicked : the same of logged impressions without a click; None where they don't count.
    interests : rows of ``user_interest``; None where nobody mined any.
    """

    told: DataFrame | None
    unclicked: DataFrame | None
    interests: DataFrame | None

    def before(self, moment: Any) -> Past:
        """Return what happened before a moment; interests are left out."""
        told, unclicked = (
            part if part is None else part.where(f.col(c.EVENT_TIMESTAMP) < f.lit(moment))
            for part in (self.told, self.unclicked)
        )
        return Past(told, unclicked, None)


def build_stream(asked: DataFrame, past: Past, types: Sequence[str], buckets: int) -> DataFrame:
    """Return one partition a bucket of users, each sorted in the order of the stream.

    Parameters
    ----------
    asked : columns of a pair: user, item and the moment the row is as of; may repeat.
    types : event types that features ask for.
    """
    parts = [_asked(asked)]
    if past.told is not None:
        parts.append(_events(past.told, types, unclicked=False))
    if past.unclicked is not None:
        parts.append(_events(past.unclicked, types, unclicked=True))
    if past.interests is not None:
        parts.append(_interests(past.interests))
    kinds = {field.name: field.dataType for part in parts for field in part.schema}
    if past.unclicked is None:
        kinds.pop(UNCLICKED, None)
    stream = reduce(DataFrame.unionByName, [_widened(part, kinds) for part in parts])
    return _sorted_buckets(stream, buckets)


def build_run(
    events: DataFrame, types: Sequence[str], buckets: int, *, unclicked: bool
) -> DataFrame:
    """Return events alone as such a stream, to be kept."""
    return _sorted_buckets(_events(events, types, unclicked=unclicked), buckets)


def _sorted_buckets(stream: DataFrame, buckets: int) -> DataFrame:
    """Partition by a hash of the user: the same bucket in every run and every night."""
    order = [name for name in ORDER if name in stream.columns]
    return stream.repartition(buckets, c.USER_ID).sortWithinPartitions(*order)


def _asked(rows: DataFrame) -> DataFrame:
    return rows.select(*c.PAIR, _what(ASKED))


def _events(events: DataFrame, types: Sequence[str], *, unclicked: bool) -> DataFrame:
    place = f.array_position(f.array(*map(f.lit, types)), f.col(c.EVENT_TYPE)) - 1
    return events.select(
        *c.PAIR,
        _what(EVENT),
        f.lit(unclicked).alias(UNCLICKED),
        f.col(c.WEIGHT).cast("float").alias(c.WEIGHT),
        *([f.coalesce(place, f.lit(-1)).cast("int").alias(KIND)] if types else []),
    )


def _interests(rows: DataFrame) -> DataFrame:
    apart = (c.USER_ID, c.EVENT_TIMESTAMP)
    mined = f.struct(*(name for name in rows.columns if name not in apart)).alias(MINED)
    return rows.select(*apart, _what(INTEREST), mined)


def _what(what: int) -> Column:
    return f.lit(what).cast("byte").alias(WHAT)


def _widened(part: DataFrame, kinds: dict[str, DataType]) -> DataFrame:
    """Return a part of the stream with all its columns, those that it lacks filled."""
    lacking = {UNCLICKED: f.lit(False), KIND: f.lit(-1)}  # numpy has no null among these

    def column(name: str, kind: DataType) -> Column:
        if name in part.columns:
            return f.col(name)
        return lacking.get(name, f.lit(None)).cast(kind).alias(name)

    return part.select(*(column(name, kind) for name, kind in kinds.items()))
