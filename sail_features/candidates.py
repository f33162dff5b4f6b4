"""Candidate sets: pairs that a retrieval stage chose, to be matched in one batch.

A Parquet file or folder with ``user_id`` and ``item_id``, of the types that the tables
have, and perhaps ``event_timestamp``: the moment that a pair is matched as of. Without
one it is the job's ``as_of``. Only footers and odd rows are read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.manifest import InputRef, sha256_of, sha256_of_pages
from sail_features.schemas import TIMESTAMP
from sail_features.tables import TableStore, format_as_of


@dataclass(frozen=True)
class CandidateSet:
    """A candidate set that was checked.

    Parameters
    ----------
    path : as it was given.
    files : the Parquet files in it.
    as_of : the end of the data it is matched with.
    timed : whether pairs have moments of their own.
    """

    path: Path
    files: tuple[Path, ...]
    as_of: datetime
    timed: bool

    @classmethod
    def open(cls, path: Path, store: TableStore, as_of: datetime) -> Self:
        """Check a candidate set against the tables.

        Raises
        ------
        InputError
            No Parquet, a missing or mistyped column, a null id, or a moment that is
            null or later than ``as_of``: what happened until then isn't known.
        """
        where, files = str(path), _list_files(path)
        events = pq.read_schema(store.files(store.covering("events", as_of))[0])
        try:
            rows = ds.dataset([str(file) for file in files], format="parquet")
            for name in (c.USER_ID, c.ITEM_ID):
                _check_id(where, rows.schema, name, events.field(name).type)
            timed = c.EVENT_TIMESTAMP in rows.schema.names
            if timed:
                _check_times(where, rows, as_of)
            for name in (c.USER_ID, c.ITEM_ID):
                _check_none(where, rows, pc.field(name).is_null(), f"{name!r} is null")
            if not rows.count_rows():
                raise InputError.empty(where)
        except (pa.ArrowException, OSError) as error:
            raise InputError.file_unreadable(path, error, "Parquet") from error
        return cls(path, files, as_of, timed)

    def as_input(self) -> InputRef:
        """Return the reference by which a manifest names this set."""
        pages = {file.name: sha256_of_pages(file) for file in self.files}
        return InputRef(table=str(self.path), as_of=self.as_of, fingerprint=sha256_of(pages))


def _list_files(path: Path) -> tuple[Path, ...]:
    files = (path,) if path.is_file() else tuple(sorted(path.rglob("[!._]*.parquet")))
    if not files:
        raise InputError.file_unreadable(
            path, "no such file, and no folder of Parquet files", "Parquet"
        )
    return files


def _check_id(where: str, schema: pa.Schema, name: str, expected: pa.DataType) -> None:
    if name not in schema.names:
        raise InputError.say(
            where,
            f"no column {name!r}; it has {', '.join(schema.names)}",
            hint=f"call the columns {c.USER_ID}, {c.ITEM_ID} and, if there is one, "
            f"{c.EVENT_TIMESTAMP}",
        )
    got = schema.field(name).type
    if got != expected and not (pa.types.is_large_string(got) and pa.types.is_string(expected)):
        raise InputError.wrong_type(where, name, got, f"{expected}, as in the events")


def _check_times(where: str, rows: ds.Dataset, as_of: datetime) -> None:
    kind = rows.schema.field(c.EVENT_TIMESTAMP).type
    if not pa.types.is_timestamp(kind):
        raise InputError.wrong_type(where, c.EVENT_TIMESTAMP, kind, "a timestamp with a time zone")
    if kind.tz is None:
        raise InputError.no_zone(where, c.EVENT_TIMESTAMP)
    moment = pc.field(c.EVENT_TIMESTAMP)
    _check_none(where, rows, moment.is_null(), f"{c.EVENT_TIMESTAMP!r} is null")
    late = moment.cast(TIMESTAMP, safe=False) > pa.scalar(as_of, TIMESTAMP)
    _check_none(where, rows, late, f"{c.EVENT_TIMESTAMP!r} is after --as-of {format_as_of(as_of)}")


def _check_none(where: str, rows: ds.Dataset, odd: pc.Expression, problem: str) -> None:
    count = rows.count_rows(filter=odd)
    if count:
        raise InputError.say(where, f"{problem} in {count} rows", hint="correct or drop these rows")
