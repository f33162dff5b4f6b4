"""Vectors and lists of a view, held apart while the join is made and put in after it.

A join sorts all columns that it carries, twice. So it carries the place of each answer's
row in the view, 8 bytes, and the columns are taken from memory a batch at a time: an
embedding to a million rows sorts 8 MB in place of 768.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sail_features.feast_plugin.stores.asof_sql import identifier

MAX_BYTES: Final = 1 << 30
"""Of one view's columns; larger ones go through the join, which spills to disk."""


@dataclass(frozen=True)
class WideColumns:
    """Columns of a view's rows, each of shape (rows,), in the order of the rows' places."""

    columns: tuple[pa.Array, ...]

    def take(self, places: pa.Array) -> list[pa.Array]:
        """Return the columns of these rows; of no row, null."""
        return [column.take(places) for column in self.columns]

    def refer(self, places: pa.Array) -> list[pa.Array]:
        """Return the same as `take`, bytes and texts as a dictionary of the view's rows."""
        return [
            _refer(places, column) if is_bytes(column.type) else column.take(places)
            for column in self.columns
        ]


def _refer(places: pa.Array, column: pa.Array) -> pa.DictionaryArray:
    if column.null_count:  # which the file's dictionary can't hold
        there = column.is_valid().take(places)
        places = pc.if_else(there, places, pa.scalar(None, places.type))
        column = column.fill_null("" if is_text(column.type) else b"")
    return pa.DictionaryArray.from_arrays(places, column)


def is_bytes(kind: pa.DataType) -> bool:
    """Tell which types Parquet keeps as a dictionary of bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or is_text(kind))


def is_text(kind: pa.DataType) -> bool:
    """Tell which types are strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def hold_apart(
    con: duckdb.DuckDBPyConnection, relation: str, features: Sequence[str], others: Sequence[str]
) -> tuple[str, WideColumns] | None:
    """Read a view once; return a table of its other columns, and its features in memory.

    Parameters
    ----------
    relation : SQL that yields the view's rows.
    others : columns that the join needs.

    Returns
    -------
    The table, whose ``rowid`` is a row's place, and the features; None where these take
    more than `MAX_BYTES`.
    """
    name = f"view_{uuid.uuid4().hex}"
    kept = ", ".join(map(identifier, dict.fromkeys([*others, *features])))
    con.execute(f"CREATE TABLE {name} AS SELECT {kept} FROM {relation}")  # noqa: S608
    wide = ", ".join(map(identifier, features))
    batches, size = [], 0
    reader = con.execute(f"SELECT {wide} FROM {name} ORDER BY rowid").to_arrow_reader()  # noqa: S608
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if size > MAX_BYTES:
            con.execute(f"DROP TABLE {name}")
            return None
    for feature in set(features) - set(others):  # held twice no longer
        con.execute(f"ALTER TABLE {name} DROP COLUMN {identifier(feature)}")
    columns = pa.Table.from_batches(batches, schema=reader.schema).columns
    return name, WideColumns(tuple(column.combine_chunks() for column in columns))


def put_in(
    answers: pa.RecordBatch, wide: Mapping[int, WideColumns], *, encoded: bool = False
) -> list[pa.Array]:
    """Return the columns of a batch, each that holds places replaced by what lies there.

    ``encoded``: as dictionaries, where a file can keep them as such.
    """
    columns: list[pa.Array] = []
    for number, column in enumerate(answers.columns):
        if number not in wide:
            columns.append(column)
        else:
            columns += wide[number].refer(column) if encoded else wide[number].take(column)
    return columns
