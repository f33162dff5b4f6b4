"""Which columns of a table are features, and of which Feast type.

Types are written out here because Feast's own mapping reads them from strings
and knows neither ``list<element: string>`` nor ``large_string`` as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa
from feast import Field
from feast.types import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
)

from sail_features import columns as c
from sail_features.errors import InputError

NEVER_FEATURES: Final = frozenset({c.EVENT_TIMESTAMP, c.AVAILABLE_AT, c.CREATED})
"""What stamps a row. Feast's historical join can't return these as features."""

_SCALARS: Final[Mapping[pa.DataType, FeastType]] = {
    pa.float32(): Float32,
    pa.float64(): Float64,
    pa.int32(): Int32,
    pa.int64(): Int64,
    pa.bool_(): Bool,
    pa.string(): String,
    pa.large_string(): String,
    pa.binary(): Bytes,
}


def feature_fields(schema: pa.Schema, keys: Iterable[str], *, where: str) -> list[Field]:
    """Return a typed field for each column that is neither a key nor a stamp.

    Parameters
    ----------
    schema : of the table's data files.
    keys : the columns that say whose features a row holds.
    where : the table, for the message.

    Raises
    ------
    InputError
        A column of a type that no feature can have, or a name that Feast would lose.
    """
    left_out = NEVER_FEATURES.union(keys)
    return [_field(column, where=where) for column in schema if column.name not in left_out]


def _field(column: pa.Field, *, where: str) -> Field:
    if column.name.endswith("_y"):
        raise InputError.say(
            where,
            f"column {column.name!r} would be lost: Feast drops joined columns named *_y",
            hint="rename the feature",
        )
    dtype = feast_type(column.type)
    if dtype is None:
        expected = "a number, text, a flag, a time, bytes, or a list of these"
        raise InputError.wrong_type(where, column.name, column.type, expected)
    return Field(name=column.name, dtype=dtype)


def feast_type(kind: pa.DataType) -> FeastType | None:
    """Return the Feast type of an Arrow type, or None where there is none.

    Examples
    --------
    >>> str(feast_type(pa.list_(pa.int64())))
    'Array(Int64)'
    """
    if pa.types.is_timestamp(kind):
        return UnixTimestamp
    if pa.types.is_list(kind):
        inner = feast_type(kind.value_type)
        return None if inner is None else Array(inner)
    return _SCALARS.get(kind)
