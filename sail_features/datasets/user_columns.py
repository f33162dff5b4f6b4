"""Turn the named columns of a user's tables into those of the contracts.

No files are read here (``source`` is for messages, and for paths relative to it): a
table and a mapping in, a table out, with the rows that each policy of `timestamps`
touched. Only the contract's columns are taken along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.datasets.impressions import derive_request_ids, mark_logged
from sail_features.datasets.mapping import ColumnNames, EventColumns, ImpressionColumns, ItemColumns
from sail_features.datasets.text_columns import join_text, look_up, resolve_paths
from sail_features.datasets.timestamps import TimeRule, read_times
from sail_features.errors import InputError

UNTYPED_EVENT: Final = "event"
"""Event type of a log that doesn't name types."""

_TAG_BREAK: Final = r"\s*\|\s*"

Counts = dict[str, int]


def read_items(
    table: pa.Table, names: ItemColumns, rule: TimeRule, *, source: Path
) -> tuple[pa.Table, Counts]:
    """Return the items; paths in them are resolved against the folder of ``source``.

    Raises
    ------
    InputError
        A named column isn't there or can't be converted.
    """
    arrays, counts = _convert(table, names, rule, where=str(source))
    if names.text:
        arrays[c.TEXT] = join_text([_as_text(table[name]) for name in names.text])
    folder = source if source.is_dir() else source.parent
    for name in (c.IMAGE_PATH, c.AUDIO_PATH):
        if name in arrays:
            arrays[name] = resolve_paths(arrays[name], folder.resolve())
    return pa.table(arrays), counts


def read_events(
    table: pa.Table, names: EventColumns, rule: TimeRule, *, source: Path
) -> tuple[pa.Table, Counts]:
    """Return the events with their type and signed weight.

    Raises
    ------
    InputError
        A named column isn't there or can't be converted, or an event's type has
        no weight.
    """
    arrays, counts = _convert(table, names, rule, where=str(source))
    if c.EVENT_TYPE not in arrays:
        arrays[c.EVENT_TYPE] = _repeat(pa.scalar(UNTYPED_EVENT), table.num_rows)
    if names.weights is not None:
        arrays[c.WEIGHT] = _weigh(arrays[c.EVENT_TYPE], names.weights, where=str(source))
    elif c.WEIGHT not in arrays:
        arrays[c.WEIGHT] = _repeat(pa.scalar(1.0), table.num_rows)
    return pa.table(arrays), counts


def read_impressions(
    table: pa.Table, names: ImpressionColumns, rule: TimeRule, *, source: Path
) -> tuple[pa.Table, Counts]:
    """Return the impressions; a request is one user at one time if none is named.

    Raises
    ------
    InputError
        A named column isn't there or can't be converted.
    """
    arrays, counts = _convert(table, names, rule, where=str(source))
    if c.REQUEST_ID not in arrays:
        arrays[c.REQUEST_ID] = derive_request_ids(arrays[c.USER_ID], arrays[c.EVENT_TIMESTAMP])
    return mark_logged(pa.table(arrays)), counts


def _repeat(value: pa.Scalar, rows: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.repeat(value, rows)])


def _convert(
    table: pa.Table, names: ColumnNames, rule: TimeRule, *, where: str
) -> tuple[dict[str, pa.ChunkedArray], Counts]:
    """Return each contract column, converted from the user's column."""
    found = names.find_columns(table.column_names, where=where)
    arrays: dict[str, pa.ChunkedArray] = {}
    counts: Counts = {}
    for name, source in found.items():
        try:
            if name == c.EVENT_TIMESTAMP:
                arrays[name], counts = read_times(table[source], rule, where=where, name=source)
            else:
                arrays[name] = _CONVERTERS.get(name, _as_text)(table[source])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            kind = table.schema.field(source).type
            raise InputError.wrong_type(where, source, kind, _EXPECTED.get(name, "text")) from error
    return arrays, counts


def _as_id(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.int64()) if pa.types.is_integer(column.type) else column


def _as_number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers; NaN and infinite ones are missing ones."""
    numbers = column.cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _as_whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_string(column.type):
        truth = pc.match_substring_regex(column, "^(?i:true|false)$")
        if pc.all(truth, min_count=0).as_py():
            column = column.cast(pa.bool_())
    if not pa.types.is_boolean(column.type):
        column = column.cast(pa.float64())
    return column.cast(pa.int32())


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers and the like as text; a list of strings is joined by spaces."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pc.binary_join(column, " ")
    return column.cast(pa.string())


def _as_files(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return paths as text; lists of them stay lists."""
    several = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    return column.cast(pa.list_(pa.string()) if several else pa.string())


def _as_tags(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.split_pattern_regex(column, _TAG_BREAK)
    return column


_CONVERTERS: Final[Mapping[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]]] = {
    c.USER_ID: _as_id,
    c.ITEM_ID: _as_id,
    c.REQUEST_ID: _as_id,
    c.PRICE: _as_number,
    c.IMAGE_PATH: _as_files,
    c.AUDIO_PATH: _as_files,
    c.WEIGHT: _as_number,
    c.PROPENSITY: _as_number,
    c.LABEL: _as_whole,
    c.POSITION: _as_whole,
    c.TAGS: _as_tags,
}
_EXPECTED: Final = {
    c.PRICE: "a number",
    c.WEIGHT: "a number",
    c.PROPENSITY: "a number",
    c.LABEL: "0 and 1, or true and false",
    c.POSITION: "a whole number",
}


def _weigh(
    event_types: pa.ChunkedArray, weights: Mapping[str, float], *, where: str
) -> pa.ChunkedArray:
    weighed = look_up(event_types, weights)
    if weighed.null_count:
        unknown = pc.unique(event_types.filter(pc.is_null(weighed))).to_pylist()
        raise InputError.weights_missing(where, unknown)
    return weighed
