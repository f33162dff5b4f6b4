"""Folders of ``items``, ``interactions`` and ``impressions`` as Parquet.

Three of the known sets come in this form and differ in their columns, by which
they are recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sail_features import columns as c
from sail_features.datasets.source_files import check_columns, read_parquet

IMPRESSION_ID = "impression_id"
TIME = "timestamp"

Columns = Mapping[str, tuple[str, ...]]
"""The columns that an importer needs, by file: items, interactions, impressions."""


class ParquetTriple(NamedTuple):
    """The three tables of a folder, with the source's own column names."""

    items: pa.Table
    interactions: pa.Table
    impressions: pa.Table


def is_triple(folder: Path, columns: Columns) -> bool:
    """Return whether the folder's files have all of these columns."""
    try:
        return all(
            set(names) <= set(pq.read_schema(str(folder / f"{file}.parquet")).names)
            for file, names in columns.items()
        )
    except (pa.ArrowException, OSError):
        return False


def read_triple(folder: Path, columns: Columns) -> ParquetTriple:
    """Read the three files.

    Raises
    ------
    InputError
        One is missing, isn't Parquet or lacks one of the columns.
    """
    tables = {}
    for file, names in columns.items():
        path = folder / f"{file}.parquet"
        tables[file] = read_parquet(path)
        check_columns(tables[file], names, where=str(path))
    return ParquetTriple(**tables)


def convert_events(interactions: pa.Table, weights: pa.ChunkedArray) -> pa.Table:
    """Return the interactions as events of the given signed weights."""
    kept = interactions.select(["user_id", "item_id", TIME, "event_type"])
    events = kept.rename_columns([c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.EVENT_TYPE])
    return events.append_column(c.WEIGHT, weights)


def convert_impressions(impressions: pa.Table) -> pa.Table:
    """Return the impressions; ``impression_id`` is one for all of a request."""
    kept = impressions.select([IMPRESSION_ID, "user_id", "item_id", TIME, "label"])
    return kept.rename_columns([c.REQUEST_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.LABEL])
