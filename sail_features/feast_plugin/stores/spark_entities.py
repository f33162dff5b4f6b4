"""The rows that features are joined to, from whatever holds them, as one Spark data frame.

A Spark data frame, a pandas DataFrame, an Arrow table, a ``SELECT`` that Spark runs, or
the path of Parquet files. Each row is numbered once, where it lies; the number is only
ever used to sort by, so that no row is lost or doubled should Spark compute it again.

Known gap: columns become Spark's types (no unsigned numbers, categories or nanoseconds).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pandas as pd
import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features.feast_plugin.stores.entity_frames import (
    EXACT_FLOATS,
    MixedZones,
    family,
    in_memory,
    is_query,
    timestamp_column,
)
from sail_features.feast_plugin.stores.join_errors import ENTITY_FRAME, JoinInputError
from sail_features.feast_plugin.stores.spark_sources import (
    SparkRelation,
    first_line,
    read_parquet,
    relation_of,
)
from sail_features.spark.as_of_join import ROW

_SIGNED: Final = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
}


@dataclass(frozen=True)
class SparkEntities:
    """Entity rows: ``relation`` has their columns and, beside them, `as_of_join.ROW`.

    ``partitions``: how many there are, where the number of a row begins with its own.
    """

    relation: SparkRelation
    timestamp: str
    partitions: int | None

    @property
    def names(self) -> list[str]:
        """The rows' own columns."""
        return list(self.relation.schema.names)


@dataclass(frozen=True)
class AskedTimes:
    """The first and the last moment that is asked for; None where there are no rows."""

    first: datetime | None
    last: datetime | None


def read_entities(
    spark: SparkSession, frame: object, folder: str, *, mixed_zones: MixedZones = "raise"
) -> SparkEntities:
    """Return the entity rows, numbered in their own order.

    Parameters
    ----------
    frame : Spark or pandas DataFrame, Arrow table, SQL or path.
    folder : where relative paths start.
    mixed_zones : as `entity_frames.in_memory`, for rows that this process holds.

    Raises
    ------
    JoinInputError
        It is none of these, its files aren't there, or its times can't be told.
    """
    if isinstance(frame, pd.DataFrame | pa.Table):
        frame = in_memory(frame, mixed_zones=mixed_zones)
    rows, number, partitions = _numbered(spark, frame, folder)
    plain = relation_of(ENTITY_FRAME, rows)
    numbered = rows.select("*", number).toDF(*plain.frame.columns, ROW)
    relation = SparkRelation(ENTITY_FRAME, numbered, plain.schema)
    return SparkEntities(relation, timestamp_column(plain.schema), partitions)


def _numbered(
    spark: SparkSession, frame: object, folder: str
) -> tuple[DataFrame, Column, int | None]:
    """Return the rows, their number, and their partitions where these can't change."""
    place = f.monotonically_increasing_id()
    if isinstance(frame, pa.Table):
        rows = spark.createDataFrame(for_spark(frame))
        return rows, place, rows.rdd.getNumPartitions()
    if isinstance(frame, DataFrame):
        return frame, place, None
    if not isinstance(frame, str | os.PathLike):
        raise JoinInputError.no_frame(frame)
    try:
        if is_query(frame):
            return spark.sql(frame), place, None
        rows = read_parquet(spark, ENTITY_FRAME, os.fspath(frame), folder)
    except AnalysisException as error:
        raise JoinInputError.frame_unreadable(first_line(error)) from error
    # Spark reads the largest file first.
    return rows, f.struct("_metadata.file_path", "_metadata.row_index"), None


def for_spark(rows: pa.Table) -> pa.Table:
    """Return rows in types that Spark has."""
    fields = [field.with_type(_spark_type(field.type)) for field in rows.schema]
    return rows.cast(pa.schema(fields), safe=False)


def _spark_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _spark_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    return _SIGNED.get(kind, kind)


def check_asked(entities: SparkEntities, whole: dict[str, str]) -> AskedTimes:
    """Return which times are asked for, in one pass over the rows.

    Parameters
    ----------
    whole : columns of floats that must be whole numbers, and the view that each is a key of.

    Raises
    ------
    JoinInputError
        A time is null, or a number isn't whole.
    """
    relation = entities.relation
    time = relation.microseconds(entities.timestamp)
    broken = [f.count_if(~_is_whole(relation.column(name))) for name in whole]
    found = relation.frame.agg(
        f.count("*"), f.count(time), f.min(time), f.max(time), *broken
    ).head()
    rows, present, first, last, *wrong = found or (0, 0, None, None)
    if present < rows:
        raise JoinInputError.times_missing(entities.timestamp, rows - present, rows)
    for (name, view), count in zip(whole.items(), wrong, strict=True):
        if count:
            kind = relation.schema.field(name).type
            raise JoinInputError.key_types_differ(view, name, kind, pa.int64())
    return AskedTimes(*(None if us is None else _moment(us) for us in (first, last)))


def _is_whole(number: Column) -> Column:
    exact = (f.floor(number) == number) & (f.abs(number) < float(EXACT_FLOATS))
    return f.isnan(number) | f.coalesce(exact, f.lit(True))


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)


def comparable(ids: Column, got: pa.DataType, wanted: pa.DataType) -> Column:
    """Return the ids of entity rows as `of_family` gives those of a view.

    Floats that stand for whole numbers beside nulls become what they stand for.
    """
    if pa.types.is_floating(got) and pa.types.is_integer(wanted):
        ids = f.when(~f.isnan(ids), ids)
    return of_family(ids, wanted)


def of_family(ids: Column, kind: pa.DataType) -> Column:
    """Return ids in the one type in which all of their family are compared."""
    same = {"integer": "bigint", "text": "string", "float": "double"}.get(str(family(kind)))
    if family(kind) == "time":
        return ids.cast("timestamp")
    return ids if same is None else ids.cast(same)


def check_comparable(view: str, column: str, got: pa.DataType, wanted: pa.DataType) -> None:
    """Raise `JoinInputError` where ids can't equal those of the view."""
    floats = pa.types.is_floating(got) and pa.types.is_integer(wanted)
    if not floats and not pa.types.is_null(got) and family(got) != family(wanted):
        raise JoinInputError.key_types_differ(view, column, got, wanted)
