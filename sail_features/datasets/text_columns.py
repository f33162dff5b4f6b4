"""Small steps on columns of text; null means that a source says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc


def null_if(column: pa.ChunkedArray, value: str) -> pa.ChunkedArray:
    """Return the column with null in place of ``value``.

    Examples
    --------
    >>> null_if(pa.chunked_array([["a", "", None]]), "").to_pylist()
    ['a', None, None]
    """
    return pc.if_else(pc.equal(column, value), pa.scalar(None, column.type), column)


def join_text(columns: Sequence[pa.ChunkedArray], separator: str = "\n") -> pa.ChunkedArray:
    """Return several columns as one text; empty parts are left out, null where all are.

    Two at a time, because Arrow's own join loses rows that are null throughout
    (``null_handling="skip"``, seen in 25.0.1).

    Examples
    --------
    >>> title, story = pa.chunked_array([["A", "B", None]]), pa.chunked_array([["x", "", None]])
    >>> join_text([title, story], ". ").to_pylist()
    ['A. x', 'B', None]
    """

    def join_two(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.ChunkedArray:
        return pc.coalesce(pc.binary_join_element_wise(left, right, separator), left, right)

    return reduce(join_two, (null_if(column, "") for column in columns))


def look_up(column: pa.ChunkedArray, values: Mapping[str, float | str]) -> pa.ChunkedArray:
    """Return the value of each word of ``column``; null where it has none.

    Examples
    --------
    >>> look_up(pa.chunked_array([["buy", "view"]]), {"buy": 1.0}).to_pylist()
    [1.0, None]
    """
    row = pc.index_in(column, value_set=pa.array(list(values), pa.string()))
    return pa.chunked_array([pa.array(list(values.values()))]).take(row)


def resolve_paths(paths: pa.ChunkedArray, folder: Path) -> pa.ChunkedArray:
    """Return paths, or lists of them, that open from anywhere; null stays null."""

    def resolve(path: str | list[str] | None) -> str | list[str] | None:
        if isinstance(path, list):
            return [str(folder / one) for one in path if one is not None]
        return None if path is None else str(folder / path)

    kind = pa.string() if not pa.types.is_nested(paths.type) else pa.list_(pa.string())
    return pa.chunked_array([pa.array([resolve(path) for path in paths.to_pylist()], kind)])
