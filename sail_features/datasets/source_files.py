"""Read the files a user brings: Parquet, CSV, TSV or JSON lines, or a folder of them.

Nothing is guessed that could damage an id or a time: text files (CSV, TSV) come
back as strings throughout, so that ``00123`` stays what it is, and times in JSON
lines stay strings, because Arrow's reader drops their zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.json as pj
import pyarrow.parquet as pq

from sail_features.errors import InputError

_JSON_BLOCK_BYTES: Final = 16 << 20
"""A JSON line can't be longer than a block; chosen here."""

_UNREADABLE: Final = (pa.ArrowException, OSError, UnicodeDecodeError)


def read_table(path: Path) -> pa.Table:
    """Read one file, or all files of a folder, into one table.

    Parameters
    ----------
    path : ``.parquet``, ``.csv``, ``.tsv``, ``.jsonl`` / ``.ndjson`` / ``.json``
        (one object a line), the text ones also with ``.gz``; or a folder whose
        files, at any depth, are all of one of these kinds. Names that begin with
        ``.`` or ``_`` are passed over, as Spark's markers are.

    Returns
    -------
    pyarrow.Table
        CSV and TSV columns are strings, an empty field is null.

    Raises
    ------
    InputError
        No such file, an unknown or mixed kind, or a file that can't be parsed.
    """
    files = _list_files(path)
    kinds = {_kind(file) for file in files}
    if len(kinds) != 1:
        raise InputError.file_unreadable(path, f"it holds {', '.join(sorted(kinds)) or 'no'} files")
    read = _READERS.get(kinds.pop())
    if read is None:
        raise InputError.file_unreadable(path, "not a kind of file that is known here")
    try:
        return pa.concat_tables([read(file) for file in files], promote_options="default")
    except pa.ArrowException as error:
        raise InputError.file_unreadable(path, error) from error


def _list_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError.file_unreadable(path, "no such file or folder")
    inside = (file for file in path.rglob("*") if file.is_file())
    return sorted(
        file for file in inside if not any(part[0] in "._" for part in file.relative_to(path).parts)
    )


def _kind(file: Path) -> str:
    """Return the suffix that tells the format, without ``.gz``."""
    name = file.name.lower().removesuffix(".gz")
    return Path(name).suffix or "nameless"


def read_delimited(
    source: Path | BinaryIO,
    delimiter: str,
    *,
    names: Sequence[str] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
    encoding: str = "utf-8",
    quoted: bool = True,
) -> pa.Table:
    """Read delimited text, columns as strings unless told otherwise, an empty field as null.

    Parameters
    ----------
    source : a file (``.gz`` too), or an open stream if ``names`` are given.
    delimiter : one character.
    names : the columns of a file without a header; without them its first line is.
    types : of the columns that aren't strings.
    encoding : of the text.
    quoted : whether ``"`` encloses fields; if not, a quote is a letter like others.

    Raises
    ------
    InputError
        The file can't be opened, its lines differ in their number of fields, or a
        field isn't of its column's type.
    """
    where = str(source) if isinstance(source, Path) else source
    parsing = pv.ParseOptions(
        delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted
    )
    reading = pv.ReadOptions(encoding=encoding, column_names=list(names) if names else None)
    try:
        columns = names or pv.open_csv(where, reading, parsing).schema.names
        converting = pv.ConvertOptions(
            column_types={name: pa.string() for name in columns} | dict(types or {}),
            null_values=[""],
            strings_can_be_null=True,
        )
        return pv.read_csv(where, reading, parsing, converting)
    except _UNREADABLE as error:
        raise InputError.file_unreadable(source, error) from error


def read_json_lines(file: Path) -> pa.Table:
    """Read one JSON object a line; what looks like a time stays a string.

    Arrow would turn ``2024-01-01T00:00+02:00`` into a time without its zone, so a
    file with such columns is read a second time, with these kept as they are.

    Raises
    ------
    InputError
        The file can't be opened, or a line isn't an object of the same shape.
    """
    table = _read_json(file, None)
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if not times:
        return table
    kept = _read_json(file, pa.schema([(name, pa.string()) for name in times]))
    return kept.select(table.column_names)


def _read_json(file: Path, schema: pa.Schema | None) -> pa.Table:
    options = pj.ParseOptions(explicit_schema=schema)
    try:
        with pa.input_stream(str(file), compression="detect") as stream:
            return pj.read_json(stream, pj.ReadOptions(block_size=_JSON_BLOCK_BYTES), options)
    except _UNREADABLE as error:
        raise InputError.file_unreadable(file, error) from error


def read_parquet(file: Path) -> pa.Table:
    """Read one Parquet file; dictionary-encoded columns are decoded.

    Raises
    ------
    InputError
        The file can't be opened or isn't Parquet.
    """
    try:
        table = pq.read_table(str(file))
    except _UNREADABLE as error:
        raise InputError.file_unreadable(file, error) from error
    decoded = [
        array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
        for array in table.columns
    ]
    return pa.table(decoded, names=table.column_names)


_READERS: Final[Mapping[str, Callable[[Path], pa.Table]]] = {
    ".parquet": read_parquet,
    ".csv": lambda file: read_delimited(file, ","),
    ".tsv": lambda file: read_delimited(file, "\t"),
    ".json": read_json_lines,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
}


def check_columns(table: pa.Table, names: Iterable[str], *, where: str) -> None:
    """Raise `InputError` where the table lacks any of ``names``; it says what exists."""
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise InputError.columns_not_there(where, missing, table.column_names)
