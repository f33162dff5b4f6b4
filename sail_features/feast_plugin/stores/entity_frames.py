"""The rows that features are joined to, from whatever holds them, as one Arrow table.

A pandas DataFrame, an Arrow table, a ``SELECT`` that DuckDB runs, or the path of
Parquet files (a file, a folder, a pattern). The table stays as it is and gets the
features beside it, so no column of it loses its type or its order.

Feast itself reads a DataFrame's times without a zone as UTC, unless
``coerce_tz_aware: false``; everywhere else they are refused here.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.feast_plugin.stores.asof_sql import literal
from sail_features.feast_plugin.stores.join_errors import ENTITY_FRAME, JoinInputError
from sail_features.feast_plugin.stores.parquet_files import readable_pattern

if TYPE_CHECKING:
    import duckdb

_QUERY: Final = re.compile(r"\s*(SELECT|WITH|FROM|VALUES|\()\b", re.IGNORECASE)
EXACT_FLOATS: Final = 2**53
"""Whole numbers below it are each a float64 of their own."""
MixedZones = Literal["raise", "utc"]
"""What a column of times of several zones becomes: an error, or the same moments in UTC."""


def read_entities(
    frame: object,
    con: duckdb.DuckDBPyConnection,
    folder: str,
    *,
    mixed_zones: MixedZones = "raise",
) -> pa.Table:
    """Return the entity rows in their own order.

    Parameters
    ----------
    frame : DataFrame, Arrow table, SQL or path.
    con : runs the SQL.
    folder : where relative paths start.
    mixed_zones : as `in_memory`.

    Raises
    ------
    JoinInputError
        It is none of these, its files aren't there, or a column mixes types or zones.
    """
    if isinstance(frame, pd.DataFrame | pa.Table):
        return in_memory(frame, mixed_zones=mixed_zones)
    if is_query(frame):
        return con.execute(frame).to_arrow_table()
    if isinstance(frame, str | os.PathLike):
        pattern = readable_pattern(ENTITY_FRAME, os.fspath(frame), folder)
        return con.execute(f"FROM read_parquet({literal(pattern)})").to_arrow_table()
    raise JoinInputError.no_frame(frame)


def is_query(frame: object) -> TypeGuard[str]:
    """Tell SQL from the path of files."""
    return isinstance(frame, str) and _QUERY.match(frame) is not None


def in_memory(frame: pd.DataFrame | pa.Table, *, mixed_zones: MixedZones = "raise") -> pa.Table:
    """Return rows that this process holds as an Arrow table.

    Parameters
    ----------
    mixed_zones : "utc" keeps the moments of a column of times of several zones and drops
        the zones. Times with a zone beside times without one are refused all the same.

    Raises
    ------
    JoinInputError
        A column mixes types or zones.
    """
    if isinstance(frame, pa.Table):
        return frame
    zones = {name: _zones(column) for name, column in frame.items() if column.dtype == object}
    mixed = {str(name): found for name, found in zones.items() if len(found) > 1}
    for name, found in mixed.items():
        if mixed_zones == "raise" or None in found:
            raise JoinInputError.zones_mixed(name, sorted(map(str, found)))
    frame = frame.assign(**{name: pd.to_datetime(frame[name], utc=True) for name in mixed})
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise JoinInputError.frame_unreadable(error) from error


def _zones(column: pd.Series[Any]) -> set[tzinfo | None]:
    """Return the zones of single Python times, of which Arrow would take the first for all.

    What is no time has no zone.
    """
    return {value.tzinfo if isinstance(value, datetime) else None for value in column.dropna()}


def find_timestamp(entities: pa.Table) -> str:
    """Return the column of the rows' times, as `timestamp_column`.

    Raises
    ------
    JoinInputError
        There is none, or they are no times, have no zone, or are null somewhere.
    """
    name = timestamp_column(entities.schema)
    if entities[name].null_count:
        raise JoinInputError.times_missing(name, entities[name].null_count, entities.num_rows)
    return name


def timestamp_column(schema: pa.Schema) -> str:
    """Return the column of the rows' times: ``event_timestamp``, or the only times there.

    Raises
    ------
    JoinInputError
        There is none, or they are no times or have no zone.
    """
    times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    name = c.EVENT_TIMESTAMP
    if name not in schema.names:
        if len(times) != 1:
            raise JoinInputError.no_timestamp(schema.names, times)
        name = times[0]
    kind = schema.field(name).type
    if not pa.types.is_timestamp(kind):
        raise JoinInputError.not_a_time(name, kind)
    if kind.tz is None:
        raise JoinInputError.zone_missing(name)
    return name


def since_1970_us(moment: datetime) -> int:
    """Return a moment in microseconds; without a zone it is local time, as in Feast."""
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def microseconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as microseconds since 1970 UTC; parts of one are cut, as DuckDB does."""
    return times.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())


def key_as(ids: pa.ChunkedArray, wanted: pa.DataType, *, view: str, column: str) -> pa.ChunkedArray:
    """Return the ids of entity rows in a type that compares exactly with ``wanted``.

    Raises
    ------
    JoinInputError
        Text against numbers, or floats that are no whole numbers.
    """
    if pa.types.is_dictionary(ids.type):
        ids = pc.cast(ids, ids.type.value_type)
    if pa.types.is_null(ids.type):
        return ids.cast(wanted)
    if pa.types.is_floating(ids.type) and pa.types.is_integer(wanted):
        return _whole_numbers(ids, wanted, view=view, column=column)
    if family(ids.type) != family(wanted):
        raise JoinInputError.key_types_differ(view, column, ids.type, wanted)
    return ids


def _whole_numbers(
    ids: pa.ChunkedArray, wanted: pa.DataType, *, view: str, column: str
) -> pa.ChunkedArray:
    """Return what pandas made floats of because of a null beside them."""
    present = pc.if_else(pc.is_nan(ids), None, ids)
    exact = pc.and_(
        pc.equal(pc.floor(present), present), pc.less(pc.abs(present), float(EXACT_FLOATS))
    )
    if pc.all(exact).as_py() is False:
        raise JoinInputError.key_types_differ(view, column, ids.type, wanted)
    return present.cast(pa.int64())


def family(kind: pa.DataType) -> object:
    """Return what two types must share for their values to be compared: a word, or the type."""
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_timestamp(kind):
        return "time"
    if pa.types.is_floating(kind):
        return "float"
    return kind
