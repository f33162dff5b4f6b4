"""A Feast source as a Spark data frame whose columns are known by position."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.file_source import FileSource
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import TimestampType

from sail_features.feast_plugin.stores.join_errors import JoinInputError
from sail_features.feast_plugin.stores.parquet_files import absolute, is_remote, readable_pattern

READABLE = "a SparkSource, or a FileSource of Parquet"
_NO_PATH = "PATH_NOT_FOUND"
_NANOSECONDS = "TIMESTAMP(NANOS"


@dataclass(frozen=True)
class SparkRelation:
    """The rows of the source ``name``.

    ``frame`` has the columns ``c0``, ``c1``..., so that no name is parsed as SQL;
    ``schema`` has their names and types.
    """

    name: str
    frame: DataFrame
    schema: pa.Schema

    def check_has(self, columns: Iterable[str]) -> None:
        """Raise `JoinInputError` where one of ``columns`` isn't there."""
        missing = [column for column in columns if column not in self.schema.names]
        if missing:
            raise JoinInputError.not_in_source(self.name, missing, self.schema.names)

    def column(self, name: str) -> Column:
        """Return a column by the name that the source gives it."""
        return f.col(self._place(name))

    def microseconds(self, name: str) -> Column:
        """Return a time column as microseconds since 1970; without a zone it is UTC."""
        column, place = self.column(name), self._place(name)
        if not isinstance(self.frame.schema[place].dataType, TimestampType):
            zone = self.frame.sparkSession.conf.get("spark.sql.session.timeZone")
            if zone not in ("UTC", "Etc/UTC", "Z"):
                kind = self.schema.field(name).type
                raise JoinInputError.zone_of_session(self.name, name, kind, zone)
            column = column.cast(TimestampType())
        return f.unix_micros(column)

    def _place(self, name: str) -> str:
        return f"c{self.schema.names.index(name)}"


def open_relation(spark: SparkSession, source: DataSource, folder: str) -> SparkRelation:
    """Return the rows of ``source``; its query goes before its path, as in Feast.

    Parameters
    ----------
    folder : the repository's, where relative paths start.

    Raises
    ------
    JoinInputError
        Its files, table or query can't be read, or it belongs to another store.
    """
    try:
        return relation_of(source.name, _read(spark, source, folder))
    except AnalysisException as error:
        if error.getCondition() == _NO_PATH:
            raise JoinInputError.no_files(source.name, source.path) from error
        raise JoinInputError.source_unreadable(source.name, first_line(error)) from error


def first_line(error: AnalysisException) -> str:
    """Return what Spark says is wrong, without its plan; and the remedy for pandas' files."""
    said = str(error).splitlines()[0]
    if _NANOSECONDS in said:
        return f"{said} Write its times in microseconds, as Spark does."
    return said


def relation_of(name: str, rows: DataFrame) -> SparkRelation:
    """Return a data frame as a relation."""
    schema = to_arrow_schema(rows.schema, timezone="UTC")
    return SparkRelation(name, rows.toDF(*(f"c{n}" for n in range(len(rows.columns)))), schema)


def named_rows(relation: SparkRelation) -> DataFrame:
    """Return the rows of a relation under their own names."""
    return relation.frame.toDF(*relation.schema.names)


def _read(spark: SparkSession, source: DataSource, folder: str) -> DataFrame:
    if isinstance(source, SparkSource):
        if source.table:
            return spark.table(source.get_table_query_string())
        if source.query:
            return spark.sql(source.query)
        if source.table_format or is_remote(source.path) or os.path.isabs(source.path):
            rows: DataFrame = source._load_dataframe_from_path(spark)
            return rows
        return spark.read.format(source.file_format).load(_mounted(absolute(source.path, folder)))
    if isinstance(source, FileSource) and _is_parquet(source):
        return read_parquet(spark, source.name, source.path, folder)
    raise JoinInputError.source_of_another_kind(source.name, type(source).__name__, READABLE)


def read_parquet(spark: SparkSession, name: str, path: str, folder: str) -> DataFrame:
    """Return the rows of a file, a folder or a pattern; what some files lack is null in them.

    Raises
    ------
    JoinInputError
        No file is there.
    """
    place = absolute(path, folder)
    if not is_remote(place):
        readable_pattern(name, path, folder)
        place = _mounted(place)
    reader = spark.read.option("mergeSchema", "true").option("recursiveFileLookup", "true")
    return reader.parquet(place)


def _mounted(path: str) -> str:
    """Return the form in which Spark reads a mounted path, whatever its default file system."""
    return path if is_remote(path) else f"file://{path}"


def _is_parquet(source: FileSource) -> bool:
    return source.file_format is None or isinstance(source.file_format, ParquetFormat)
