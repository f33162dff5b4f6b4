"""A Feast source as something that DuckDB selects from."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores import duckdb as feast_duckdb
from feast.infra.offline_stores.file_source import FileSource

from sail_features.feast_plugin.stores.asof_sql import identifier, literal
from sail_features.feast_plugin.stores.database import load_table
from sail_features.feast_plugin.stores.join_errors import JoinInputError
from sail_features.feast_plugin.stores.parquet_files import absolute, is_remote, readable_pattern


@dataclass(frozen=True)
class Relation:
    """SQL that yields the rows of the source ``name``, and their columns."""

    name: str
    sql: str
    schema: pa.Schema

    def check_has(self, columns: Iterable[str]) -> None:
        """Raise `JoinInputError` where one of ``columns`` isn't there."""
        missing = [column for column in columns if column not in self.schema.names]
        if missing:
            raise JoinInputError.not_in_source(self.name, missing, self.schema.names)

    def pick(self, keys: Sequence[str], features: Sequence[str], times: Sequence[str]) -> list[str]:
        """Return the columns that Feast asks for; no features at all mean every column.

        That is how Feast's engines ask on behalf of a transformation, which computes its
        view's features from columns that the view doesn't name.

        Raises
        ------
        JoinInputError
            One of them isn't there.
        """
        names = [*keys, *(features or self.schema.names), *times]
        self.check_has(names)
        return list(dict.fromkeys(names))

    def microseconds(self, column: str) -> str:
        """Return SQL of a time column as microseconds since 1970; without a zone it is UTC."""
        quoted = identifier(column)
        if not pa.types.is_timestamp(self.schema.field(column).type):
            quoted = f"CAST({quoted} AS TIMESTAMPTZ)"
        return f"epoch_us({quoted})"


def open_relation(con: duckdb.DuckDBPyConnection, source: DataSource, folder: str) -> Relation:
    """Return the rows of ``source``.

    Parameters
    ----------
    con : may get a table with the rows of a source that DuckDB can't stream.
    folder : the repository's, where relative paths start.

    Raises
    ------
    JoinInputError
        Its files aren't there.

    Notes
    -----
    Parquet files on a mounted disk are read as the query runs, a column that only some
    of them have being null in the others. Everything else (object stores, Delta,
    Iceberg) is loaded whole by the reader of Feast's own DuckDB store.
    """
    if is_local_parquet(source, folder):
        pattern = readable_pattern(source.name, source.path, folder)
        sql = f"read_parquet({literal(pattern)}, union_by_name = true)"
    else:
        rows = feast_duckdb._read_data_source(source, folder).to_pyarrow()
        sql = load_table(con, rows, f"source_{uuid.uuid4().hex}")
    schema = con.execute(f"FROM {sql} LIMIT 0").to_arrow_table().schema
    return Relation(source.name, sql, schema)


def is_local_parquet(source: DataSource, folder: str) -> bool:
    """Tell whether ``source`` is Parquet files on a mounted disk."""
    return (
        isinstance(source, FileSource)
        and (source.file_format is None or isinstance(source.file_format, ParquetFormat))
        and not is_remote(absolute(source.path, folder))
    )
