"""A Parquet log of served features: Feast's feature logging, or one's own.

Its rows hold the keys that were asked for, when, and a column ``view__feature`` for each
feature that was answered. Feast's log adds ``view__feature__timestamp``, the time of the
stored row behind each answer. The time of a row is the first of these that it has:
``requested_at`` (microseconds since 1970 UTC, or a timestamp), ``__log_timestamp``,
``event_timestamp``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.schemas import TIMESTAMP

REQUESTED_AT: Final = "requested_at"
LOG_TIMESTAMP: Final = "__log_timestamp"
TIMES: Final = (REQUESTED_AT, LOG_TIMESTAMP, c.EVENT_TIMESTAMP)
ROW_TIME: Final = "__timestamp"


class LogError(InputError):
    """A log of served features can't be compared with anything."""

    @classmethod
    def unreadable(cls, path: Path, reason: object) -> Self:
        """Build the error for a log that is no Parquet."""
        return cls.say(
            str(path), f"can't be read: {reason}", hint="give a Parquet file, or a folder of them"
        )

    @classmethod
    def no_time(cls, path: Path, existing: Sequence[str]) -> Self:
        """Build the error for a log that doesn't say when its rows were served."""
        return cls.say(
            str(path),
            f"no time of the requests; it has {', '.join(existing)}",
            hint=f"log one of {', '.join(TIMES)}",
        )

    @classmethod
    def time_missing(cls, path: Path, count: int) -> Self:
        """Build the error for rows that say no time."""
        return cls.say(
            str(path),
            f"{count} rows have no time",
            hint=f"fill {REQUESTED_AT}, or log {LOG_TIMESTAMP} beside it",
        )

    @classmethod
    def time_unusable(cls, path: Path, column: str, got: object) -> Self:
        """Build the error for times that nobody can read without a guess."""
        return cls.say(
            str(path),
            f"column {column!r} is {got}, expected timestamps with a time zone, or "
            "microseconds since 1970 UTC as whole numbers",
            hint="convert it before writing the log",
        )

    @classmethod
    def no_rows(cls, path: Path, since: object, until: object) -> Self:
        """Build the error for a log without rows of the asked time."""
        return cls.say(
            str(path),
            f"no row from {since or 'the beginning'} to {until or 'the end'}",
            hint="check --log, --since and --as-of",
        )

    @classmethod
    def no_key(cls, path: Path, key: str, service: str, existing: Sequence[str]) -> Self:
        """Build the error for a log that doesn't say whose features it has."""
        return cls.say(
            str(path),
            f"no column {key!r}, which service {service!r} is asked by; it has "
            f"{', '.join(existing)}",
            hint="log the keys too: feature_log writes them",
        )

    @classmethod
    def no_keys_filled(cls, path: Path, keys: Sequence[str]) -> Self:
        """Build the error for a log of which no row names all entities."""
        return cls.say(
            str(path),
            f"no row has all of {', '.join(keys)}",
            hint="log the keys of each request",
        )

    @classmethod
    def nothing_to_compare(cls, path: Path, service: str, features: Sequence[str]) -> Self:
        """Build the error for a log that has none of a service's features."""
        return cls.say(
            str(path),
            f"has none of the features of service {service!r}: {', '.join(features[:5])} ...",
            hint="log with full_feature_names=True, or give the service that shares its features",
        )


@dataclass(frozen=True)
class ServedLog:
    """Rows of a log, and when each was asked for.

    Parameters
    ----------
    path : where they come from.
    rows : the log's own columns.
    times : microseconds in UTC, one a row.
    logged : how many rows the log has in the asked time, sampled or not.
    """

    path: Path
    rows: pa.Table
    times: pa.ChunkedArray
    logged: int

    def column_of(self, feature: str, among: Sequence[str]) -> str | None:
        """Return the column that holds ``view__feature``, by its full or its own name.

        Parameters
        ----------
        among : all features of the service; an own name that two of them share says nothing.
        """
        names = set(self.rows.column_names)
        short = feature.split("__", 1)[1]
        if feature in names:
            return feature
        alone = sum(other.split("__", 1)[1] == short for other in among) == 1
        return short if alone and short in names else None

    def features_beside(self, compared: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
        """Return the columns that are neither compared nor keys, times or Feast's own."""
        named = {*compared, *known, *TIMES}
        return tuple(
            name
            for name in self.rows.column_names
            if name not in named
            and not name.startswith("__")
            and not name.endswith((ROW_TIME, "__status"))
        )


def read_served_log(
    path: Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> ServedLog:
    """Read a log, or as many of its rows as asked for, drawn at random.

    Parameters
    ----------
    path : a Parquet file or a folder of them, with folders named ``column=value`` or not.
    since, until : only rows of [since, until).
    sample : at most so many rows, in the log's order; None takes all.
    seed : of the draw.

    Raises
    ------
    LogError
        Nothing there, no Parquet, no time, or no row of that time.
    """
    try:
        dataset = ds.dataset(_files(path), format="parquet", partitioning="hive")
        names = [name for name in TIMES if name in dataset.schema.names]
        if not names:
            raise LogError.no_time(path, dataset.schema.names)
        times = _times(path, dataset.to_table(columns=names), names)
        chosen = _choose(times, since, until)
        logged = len(chosen)
        if not logged:
            raise LogError.no_rows(path, since, until)
        if sample is not None and sample < logged:
            rng = np.random.default_rng(seed)
            chosen = np.sort(rng.choice(chosen, sample, replace=False))
        rows = dataset.take(pa.array(chosen))
    except (OSError, pa.ArrowException) as error:
        raise LogError.unreadable(path, error) from error
    return ServedLog(path, rows, times.take(pa.array(chosen)), logged)


def _files(path: Path) -> list[str]:
    """Return the files of a log; pyarrow itself skips Feast's folders ``__log_date=...``."""
    found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    return [str(file) for file in found if not file.name.startswith((".", "_"))]


def _times(path: Path, table: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    """Return each row's time: the first of ``names`` that says one."""
    times = pc.coalesce(*[_in_utc(path, name, table[name]) for name in names])
    if times.null_count:
        raise LogError.time_missing(path, times.null_count)
    return times


def _in_utc(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_null(column.type) or pa.types.is_integer(column.type):
        return column.cast(pa.int64()).cast(TIMESTAMP)
    if pa.types.is_timestamp(column.type) and column.type.tz:
        return column.cast(TIMESTAMP, safe=False)
    raise LogError.time_unusable(path, name, column.type)


def _choose(
    times: pa.ChunkedArray, since: datetime | None, until: datetime | None
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the numbers of the rows of [since, until)."""
    held = np.ones(len(times), bool)
    if since is not None:
        held &= pc.greater_equal(times, pa.scalar(since, TIMESTAMP)).to_numpy()
    if until is not None:
        held &= pc.less(times, pa.scalar(until, TIMESTAMP)).to_numpy()
    return np.flatnonzero(held)
