"""The columns and types of every table, written once.

A table is checked against its schema when it enters the system and when a job
publishes it. Ids are strings or 64-bit integers, kept as they come; all times
are microseconds in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.errors import InputError

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Kind:
    """What a column may hold: a word for messages, a test, and the type written."""

    word: str
    accepts: Callable[[pa.DataType], bool]
    written_as: pa.DataType


def _is_id(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.int64())


def _is_zoned_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind)) and kind.tz is not None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_list_of(inner: Callable[[pa.DataType], bool]) -> Callable[[pa.DataType], bool]:
    return lambda kind: (
        bool(pa.types.is_list(kind) or pa.types.is_large_list(kind)) and inner(kind.value_type)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


ID: Final = Kind("a string or a 64-bit integer", _is_id, pa.string())
TIME: Final = Kind("a timestamp with a time zone", _is_zoned_time, TIMESTAMP)
STRING: Final = Kind("a string", _is_text, pa.string())
NUMBER: Final = Kind("a number", _is_number, pa.float32())
WHOLE: Final = Kind("a whole number", pa.types.is_integer, pa.int32())
BYTES: Final = Kind("binary", pa.types.is_binary, pa.binary())
STRINGS: Final = Kind("a list of strings", _is_list_of(_is_text), pa.list_(pa.string()))
FILES: Final = Kind(
    "a string or a list of strings",
    lambda kind: _is_text(kind) or _is_list_of(_is_text)(kind),
    pa.string(),
)
"""A path, or several of one item, such as a video's frames."""
IDS: Final = Kind("a list of ids", _is_list_of(_is_id), pa.list_(pa.string()))
TIMES_US: Final = Kind(
    "a list of 64-bit integers", _is_list_of(pa.types.is_int64), pa.list_(pa.int64())
)
NUMBERS: Final = Kind("a list of numbers", _is_list_of(_is_number), pa.list_(pa.float32()))
COUNTS: Final = Kind(
    "a list of whole numbers", _is_list_of(pa.types.is_integer), pa.list_(pa.int32())
)


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind
    optional: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class TableSchema:
    """A table's name, the key its rows are unique by, and its columns.

    ``key`` is empty where rows may repeat. Further columns are allowed and kept.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def names(self) -> tuple[str, ...]:
        """Return the names of all columns, optional ones included."""
        return tuple(column.name for column in self.columns)


_LINEAGE: Final = (
    Column(c.AVAILABLE_AT, TIME),
    Column(c.CREATED, TIME),
)

ITEMS: Final = TableSchema(
    "items",
    (c.ITEM_ID,),
    (
        Column(c.ITEM_ID, ID),
        Column(c.EVENT_TIMESTAMP, TIME),
        Column(c.TITLE, STRING, optional=True, nullable=True),
        Column(c.TEXT, STRING, optional=True, nullable=True),
        Column(c.CATEGORY, STRING, optional=True, nullable=True),
        Column(c.PRICE, NUMBER, optional=True, nullable=True),
        Column(c.TAGS, STRINGS, optional=True, nullable=True),
        Column(c.IMAGE_PATH, FILES, optional=True, nullable=True),
        Column(c.AUDIO_PATH, FILES, optional=True, nullable=True),
    ),
)

EVENTS: Final = TableSchema(
    "events",
    (),
    (
        Column(c.USER_ID, ID),
        Column(c.ITEM_ID, ID),
        Column(c.EVENT_TIMESTAMP, TIME),
        Column(c.EVENT_TYPE, STRING),
        Column(c.WEIGHT, NUMBER),
    ),
)

IMPRESSIONS: Final = TableSchema(
    "impressions",
    (c.REQUEST_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP),
    (
        Column(c.REQUEST_ID, ID),
        Column(c.USER_ID, ID),
        Column(c.ITEM_ID, ID),
        Column(c.EVENT_TIMESTAMP, TIME),
        Column(c.LABEL, WHOLE),
        Column(c.NEGATIVE_SOURCE, STRING, optional=True, nullable=True),
        Column(c.POSITION, WHOLE, optional=True, nullable=True),
        Column(c.PROPENSITY, NUMBER, optional=True, nullable=True),
    ),
)

ITEM_EMBEDDING: Final = TableSchema(
    "item_embedding",
    (c.ITEM_ID, c.ENCODER_ID, c.CONTENT_HASH),
    (
        Column(c.ITEM_ID, ID),
        Column(c.EVENT_TIMESTAMP, TIME),
        *_LINEAGE,
        Column(c.EMBEDDING, BYTES),
        Column(c.DIM, WHOLE),
        Column(c.ENCODER_ID, STRING),
        Column(c.CONTENT_HASH, STRING),
    ),
)

USER_HISTORY: Final = TableSchema(
    "user_history",
    (c.USER_ID,),
    (
        Column(c.USER_ID, ID),
        Column(c.EVENT_TIMESTAMP, TIME),
        *_LINEAGE,
        Column(c.HISTORY_ITEM_IDS, IDS),
        Column(c.HISTORY_TIMES, TIMES_US),
        Column(c.HISTORY_WEIGHTS, NUMBERS),
    ),
)

USER_INTEREST: Final = TableSchema(
    "user_interest",
    (c.USER_ID, c.EVENT_TIMESTAMP),
    (
        Column(c.USER_ID, ID),
        Column(c.EVENT_TIMESTAMP, TIME),
        *_LINEAGE,
        Column(c.INTEREST_VECTORS, BYTES),
        Column(c.INTEREST_WEIGHTS, NUMBERS),
        Column(c.INTEREST_MEDOIDS, IDS),
        Column(c.INTEREST_SIZES, COUNTS),
        Column(c.INTEREST_TIMES, TIMES_US),
        Column(c.INTEREST_FEEDBACK, NUMBERS),
        Column(c.DIM, WHOLE),
        Column(c.ENCODER_ID, STRING),
    ),
)

USER_CLUSTER: Final = TableSchema(
    "user_cluster",
    (c.USER_ID, c.EVENT_TIMESTAMP),
    (
        Column(c.USER_ID, ID),
        Column(c.EVENT_TIMESTAMP, TIME),
        *_LINEAGE,
        Column(c.PRIMARY_CLUSTERS, COUNTS),
        Column(c.PRIMARY_COUNTS, COUNTS),
        Column(c.PRIMARY_WEIGHTS, NUMBERS),
        Column(c.PRIMARY_TIMES, TIMES_US),
        Column(c.SECONDARY_CLUSTERS, COUNTS),
        Column(c.SECONDARY_COUNTS, COUNTS),
        Column(c.SECONDARY_WEIGHTS, NUMBERS),
        Column(c.SECONDARY_TIMES, TIMES_US),
        Column(c.LONG_TAIL_CLUSTERS, COUNTS),
        Column(c.ENCODER_ID, STRING),
        Column(c.CLUSTER_VERSION, STRING),
    ),
)

ITEM_PAIR: Final = TableSchema(
    "item_pair",
    (c.ITEM_ID, c.OTHER_ITEM_ID, c.PAIR_SOURCE),
    (
        Column(c.ITEM_ID, ID),
        Column(c.OTHER_ITEM_ID, ID),
        Column(c.EVENT_TIMESTAMP, TIME),
        *_LINEAGE,
        Column(c.PAIR_SOURCE, STRING),
        Column(c.SUPPORT, WHOLE),
        Column(c.STRENGTH, NUMBER),
    ),
)

SEARCH_PAIR: Final = TableSchema(
    "search_pair",
    (c.SEARCH_QUERY, c.ITEM_ID),
    (
        Column(c.SEARCH_QUERY, STRING),
        Column(c.ITEM_ID, ID),
        Column(c.EVENT_TIMESTAMP, TIME),
        *_LINEAGE,
        Column(c.SUPPORT, WHOLE),
    ),
)


def _pair_table(name: str, *lineage: Column) -> TableSchema:
    return TableSchema(
        name,
        (c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP),
        (
            Column(c.USER_ID, ID),
            Column(c.ITEM_ID, ID),
            Column(c.EVENT_TIMESTAMP, TIME),
            *_LINEAGE,
            Column(c.FEATURES_AVAILABLE_AT, TIME),
            Column(c.FEATURE_TIME, TIME, nullable=True),
            Column(c.FEATURE_SET_ID, STRING),
            *lineage,
        ),
    )


USER_ITEM_BASELINE: Final = _pair_table("user_item_baseline")
USER_ITEM_MATCH: Final = _pair_table("user_item_match", Column(c.ENCODER_ID, STRING))
USER_ITEM_MATCH_PLACEBO: Final = _pair_table(
    "user_item_match_placebo", Column(c.ENCODER_ID, STRING)
)
USER_ITEM_MATCH_RANDOM: Final = _pair_table("user_item_match_random", Column(c.ENCODER_ID, STRING))
USER_ITEM_MATCH_LAGGED: Final = _pair_table("user_item_match_lagged", Column(c.ENCODER_ID, STRING))
USER_ITEM_CANDIDATE: Final = _pair_table("user_item_candidate", Column(c.ENCODER_ID, STRING))

TABLES: Final[Mapping[str, TableSchema]] = {
    schema.name: schema
    for schema in (
        ITEMS,
        EVENTS,
        IMPRESSIONS,
        ITEM_EMBEDDING,
        USER_HISTORY,
        USER_INTEREST,
        USER_CLUSTER,
        ITEM_PAIR,
        SEARCH_PAIR,
        USER_ITEM_BASELINE,
        USER_ITEM_MATCH,
        USER_ITEM_MATCH_PLACEBO,
        USER_ITEM_MATCH_RANDOM,
        USER_ITEM_MATCH_LAGGED,
        USER_ITEM_CANDIDATE,
    )
}


def check_table(table: pa.Table, schema: TableSchema, *, where: str) -> None:
    """Check a table's columns, types, nulls and key.

    Parameters
    ----------
    table : any number of rows above zero; further columns are ignored.
    schema : what to hold it against.
    where : file or job that made the table, for the message.

    Raises
    ------
    InputError
        An empty table, a missing or mistyped column, a null where none may be,
        or a repeated key.
    """
    if table.num_rows == 0:
        raise InputError.empty(where)
    for column in schema.columns:
        _check_column(table, column, where=where)
    if schema.key:
        check_unique(table, schema.key, where=where)


def _check_column(table: pa.Table, column: Column, *, where: str) -> None:
    if column.name not in table.column_names:
        if column.optional:
            return
        raise InputError.missing_column(where, column.name, table.column_names)
    kind = table.schema.field(column.name).type
    if pa.types.is_timestamp(kind) and kind.tz is None and column.kind is TIME:
        raise InputError.no_zone(where, column.name)
    if not column.kind.accepts(kind) and not (column.nullable and pa.types.is_null(kind)):
        raise InputError.wrong_type(where, column.name, kind, column.kind.word)
    missing = _count_missing(table[column.name])
    if missing and not column.nullable:
        raise InputError.say(
            where,
            f"column {column.name!r} is null or not finite in {missing} of {table.num_rows} rows",
            hint="drop these rows, or fill the column",
        )


def _count_missing(values: pa.ChunkedArray) -> int:
    if pa.types.is_floating(values.type):
        return len(values) - int(pc.sum(pc.is_finite(values)).as_py() or 0)
    return int(values.null_count)


def check_unique(table: pa.Table, key: tuple[str, ...], *, where: str) -> None:
    """Raise `InputError` where two rows of ``table`` share ``key``."""
    counts = table.select(list(key)).group_by(list(key)).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1))
    if repeated.num_rows:
        examples = [tuple(row[name] for name in key) for row in repeated.to_pylist()]
        raise InputError.duplicate_keys(where, key, examples)


def check_not_in_future(table: pa.Table, column: str, *, now: datetime, where: str) -> None:
    """Raise `InputError` where ``column`` holds times later than ``now``."""
    late = table.filter(pc.greater(_in_utc(table[column]), pa.scalar(now, TIMESTAMP)))
    if late.num_rows:
        # As text by Arrow: Python has no years beyond 9999.
        latest = pc.max(late[column]).cast(pa.string()).as_py()
        raise InputError.in_future(where, column, late.num_rows, latest, now)


def written_type(column: Column, id_type: pa.DataType) -> pa.DataType:
    """Return the type a column is written with, given the type of the ids it may hold."""
    if column.kind is ID:
        return id_type
    if column.kind is IDS:
        return pa.list_(id_type)
    return column.kind.written_as


def conform(table: pa.Table, schema: TableSchema) -> pa.Table:
    """Cast the known columns to the types that tables are written with.

    Ids keep their own type (large strings become strings), list elements too; parts of
    a microsecond are cut; unknown columns are passed through. Column order: the
    schema's, then the rest.
    """
    known = {column.name: column for column in schema.columns}
    names = [name for name in schema.names() if name in table.column_names]
    names += [name for name in table.column_names if name not in known]
    arrays = []
    for name in names:
        array = table[name]
        if name in known:
            target = _target_type(known[name], array.type)
            array = _in_utc(array) if target == TIMESTAMP else array.cast(target)
        arrays.append(array)
    return pa.table(dict(zip(names, arrays, strict=True)))


def _in_utc(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return times.cast(TIMESTAMP, safe=False)


def _target_type(column: Column, kind: pa.DataType) -> pa.DataType:
    if column.kind in (ID, IDS):
        value = kind if column.kind is ID else kind.value_type
        return written_type(column, pa.int64() if value == pa.int64() else pa.string())
    several = column.kind is FILES and not (_is_text(kind) or pa.types.is_null(kind))
    return STRINGS.written_as if several else column.kind.written_as
