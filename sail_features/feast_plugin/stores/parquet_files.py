"""Parquet files that the store reads and writes: patterns to read, whole files to write.

A file is written beside its place and moved there when it is complete, so that a
reader sees the old file or the new one, and a killed process loses nothing.
"""

from __future__ import annotations

import base64
import glob
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from sail_features.feast_plugin.stores.join_errors import JoinInputError

_ROWS_A_FILE: Final = 2**20
_ROWS_A_GROUP: Final = 2**17
_MOST_DICTIONARY_BYTES: Final = 1 << 30
_PATTERN: Final = frozenset("*?[")


def is_remote(path: str) -> bool:
    """Tell ``s3://...`` and its like from paths of mounted files."""
    return "://" in path


def folder_of(config: RepoConfig) -> str:
    """Return the repository's folder, in which relative paths start."""
    return str(config.repo_path or ".")


def absolute(path: str, folder: str) -> str:
    """Return ``path`` as Feast resolves it: below ``folder``, the repository's."""
    return str(FileSource.get_uri_for_file_path(folder, path))


def readable_pattern(source: str, path: str, folder: str) -> str:
    """Return what DuckDB's ``read_parquet`` takes for a file, a folder or a pattern.

    Raises
    ------
    JoinInputError
        No file is there.
    """
    pattern = absolute(path, folder)
    if os.path.isdir(pattern):
        pattern = os.path.join(pattern, "**", "*.parquet")
    if not os.path.exists(pattern) and not glob.glob(pattern, recursive=True):
        raise JoinInputError.no_files(source, pattern)
    return pattern


def write_parquet(batches: pa.RecordBatchReader, path: str) -> None:
    """Write batches to one ``*.parquet`` file, or as a folder; replace what was there.

    A column of dictionaries is written as one of its values, each of which a row group
    holds once.
    """
    with replaced_when_complete(path) as staged:
        if path.endswith(".parquet"):
            _write_file(batches, staged)
            return
        staged.mkdir()
        for number, rows in enumerate(_gather(batches, _ROWS_A_FILE)):
            file = staged / f"{uuid.uuid4().hex}-{number}.parquet"
            _write_file(pa.RecordBatchReader.from_batches(batches.schema, rows), file)


def _write_file(batches: pa.RecordBatchReader, path: Path) -> None:
    # A dictionary is written once a group of rows: few and large ones, where there is any.
    referred = any(pa.types.is_dictionary(field.type) for field in batches.schema)
    with _writer(path, batches.schema) as writer:
        for rows in _gather(batches, _ROWS_A_FILE if referred else _ROWS_A_GROUP):
            writer.write_table(pa.Table.from_batches(rows, schema=batches.schema))


def _gather(batches: pa.RecordBatchReader, size: int) -> Iterator[list[pa.RecordBatch]]:
    """Put whole batches together until there are so many rows; at least one list."""
    held: list[pa.RecordBatch] = []
    count, given = 0, False
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count >= size:
            yield held
            held, count, given = [], 0, True
    if held or not given:
        yield held


def write_folder(
    rows: pa.RecordBatchReader | pa.Table | ds.Dataset,
    path: str,
    *,
    filesystem: pa.fs.FileSystem | None = None,
    partition_by: Sequence[str] | None = None,
) -> list[str]:
    """Add rows to a folder as new files, and return their paths."""
    written: list[str] = []
    ds.write_dataset(
        rows,
        path,
        format="parquet",
        filesystem=filesystem,
        basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet",
        partitioning=list(partition_by) if partition_by else None,
        partitioning_flavor="hive" if partition_by else None,
        existing_data_behavior="overwrite_or_ignore",
        max_rows_per_file=_ROWS_A_FILE,
        max_rows_per_group=_ROWS_A_GROUP,
        preserve_order=True,
        file_visitor=lambda file: written.append(file.path),
    )
    return written


def append_rows(rows: pa.Table, path: str) -> None:
    """Add rows to a file or to a folder of files, in the columns' own types.

    Raises
    ------
    JoinInputError
        The place is a pattern, or its columns aren't these.
    """
    if _PATTERN.intersection(path):
        raise JoinInputError.not_writable(path)
    schema = ds.dataset(path, format="parquet").schema
    if schema.names != rows.column_names:
        raise JoinInputError.columns_differ(path, rows.column_names, schema.names)
    rows = rows.cast(schema)
    if os.path.isdir(path):
        write_folder(rows, path)
        return
    with replaced_when_complete(path) as staged, _writer(staged, schema) as writer:
        for batch in pq.ParquetFile(path).iter_batches():
            writer.write_batch(batch)
        writer.write_table(rows)


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a writer that doesn't try to shrink vectors: it costs, and gains 1 %."""
    plain = pa.schema([field.with_type(_value_type(field.type)) for field in schema])
    referred = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    names = {field.name: _may_be_vectors(field.type) for field in plain}
    others = [name for name, vectors in names.items() if not vectors]
    writer = pq.ParquetWriter(
        path,
        schema,
        use_dictionary=[*others, *(name for name in referred if name not in others)],
        write_statistics=others,
        compression={name: "none" if vectors else "zstd" for name, vectors in names.items()},
        dictionary_pagesize_limit=_MOST_DICTIONARY_BYTES if referred else None,
        store_schema=not referred,
    )
    if referred:
        # What pyarrow would have stored, so that readers meet values and no dictionaries.
        stored = base64.b64encode(plain.serialize().to_pybytes()).decode()
        writer.add_key_value_metadata({"ARROW:schema": stored})
    return writer


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _may_be_vectors(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind)
    )


@contextmanager
def replaced_when_complete(place: str) -> Iterator[Path]:
    """Give a path beside ``place``; put what was written there in its place, if all went well."""
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged, old = (
        path.with_name(f".{path.name}-{word}-{uuid.uuid4().hex}") for word in ("new", "old")
    )
    try:
        yield staged
        if path.is_dir():
            path.rename(old)
        staged.replace(path)
    finally:
        for left in (staged, old):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
