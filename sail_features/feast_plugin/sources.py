"""A table on disk as a Feast source.

A source is a glob over all partitions, so that a new one is seen without another
``feast apply``; half-written ones don't match it. Feast knows no manifests: it
reads every partition with the columns of the first, and where two hold a row of
the same key and time it takes either. The checks here refuse such tables.
"""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FileSource
from feast.data_format import ParquetFormat

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.manifest import Manifest
from sail_features.tables import TableStore


def parquet_source(tables: TableStore, table: str) -> FileSource:
    """Return all partitions of ``table``, stamped by when rows held and were known."""
    logging.getLogger(FileSource.__module__).addFilter(_is_not_about_a_glob)
    return FileSource(
        name=table,
        path=tables.glob(table),
        file_format=ParquetFormat(),
        timestamp_field=c.EVENT_TIMESTAMP,
        created_timestamp_column=c.AVAILABLE_AT,
        description=f"Table {table}: one folder a partition, a manifest in each.",
    )


def _is_not_about_a_glob(record: logging.LogRecord) -> bool:
    """Tell false alarms from others: Feast looks for a file whose name is the pattern."""
    return "*" not in str(record.args)


def table_schema(tables: TableStore, table: str) -> pa.Schema:
    """Return the columns that every partition of ``table`` has.

    Raises
    ------
    MissingTableError
        No job has written the table yet.
    InputError
        Two partitions have different columns, or none has a row.
    """
    tables.latest(table)
    filled = [manifest for manifest in tables.manifests(table) if manifest.files]
    if not filled:
        raise InputError.empty(str(tables.root / table))
    newest = filled[-1]
    schema = _schema_of(tables, newest)
    for manifest in filled[:-1]:
        if _types_by_name(_schema_of(tables, manifest)) != _types_by_name(schema):
            raise InputError.say(
                str(tables.partition(table, manifest.as_of)),
                f"its columns differ from those of {newest.as_of:%Y-%m-%d}, "
                "and Feast reads all partitions alike",
                hint="write this partition again with the present settings, or delete it",
            )
    return schema


def _schema_of(tables: TableStore, manifest: Manifest) -> pa.Schema:
    return pq.read_schema(tables.files([manifest])[0])


def _types_by_name(schema: pa.Schema) -> dict[str, pa.DataType]:
    return dict(zip(schema.names, schema.types, strict=True))


def check_none_superseded(tables: TableStore, table: str) -> None:
    """Raise `InputError` where a newer partition of ``table`` replaces an older one."""
    current = tables.covering(table)
    for manifest in tables.manifests(table):
        if manifest not in current:
            raise InputError.say(
                str(tables.partition(table, manifest.as_of)),
                f"is superseded by {current[0].as_of:%Y-%m-%d}, but Feast would join it too",
                hint="delete it",
            )


def check_one_encoder(tables: TableStore, table: str) -> None:
    """Raise `InputError` where the partitions of ``table`` hold different encoders' vectors."""
    _check_one(
        tables,
        table,
        c.ENCODER_ID,
        "vectors of {} encoders",
        hint="encode all items with one encoder, and delete the partitions of the others",
    )


def check_one_clustering(tables: TableStore, table: str) -> None:
    """Raise `InputError` where the partitions of ``table`` count by different clusters."""
    _check_one(
        tables,
        table,
        c.CLUSTER_VERSION,
        "counts by {} versions of the clusters",
        hint="run `sail-features clusters` without --since, and delete the older partitions",
    )


def _check_one(tables: TableStore, table: str, name: str, problem: str, *, hint: str) -> None:
    """Raise where the partitions' lineages differ in what they say of ``name``."""
    found = {str(manifest.lineage.get(name)) for manifest in tables.manifests(table)}
    if len(found) > 1:
        raise InputError.say(
            str(tables.root / table),
            f"{problem.format(len(found))}: {', '.join(sorted(found))}",
            hint=hint,
        )
