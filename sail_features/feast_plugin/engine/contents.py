"""Runs a transformation once for each distinct content, ever.

For transformations that look at some columns of a row and at nothing else, as an encoder
does. What its sink holds of the same encoder is copied; contents that are new go through
the transformation, each once, and are written before they are joined to their rows, so
that no plan runs it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from sail_features.errors import InputError
from sail_features.spark.inputs import spark_path
from sail_features.spark.newest import newest_by_key

CONTENT: Final = "content_key"
"""Column of a sink: hash of what a row's features were computed from."""


@dataclass(frozen=True)
class ContentColumns:
    """What a view computes from what.

    ``content`` are the columns that the transformation looks at; ``keys``, ``time`` and
    ``created`` are those of a row, ``features`` what is computed; ``view`` is named in
    messages.
    """

    view: str
    content: tuple[str, ...]
    keys: tuple[str, ...]
    time: str
    created: str | None
    features: tuple[str, ...]

    @property
    def row(self) -> tuple[str, ...]:
        """The columns that a row has beside its features."""
        return (*self.keys, self.time, *((self.created,) if self.created else ()))

    def check(self, raw: DataFrame) -> None:
        """Raise `InputError` where the raw rows lack a column."""
        for name in (*self.row, *self.content):
            if name not in raw.columns:
                raise InputError.missing_column(f"source of view {self.view!r}", name, raw.columns)


def transform_once(
    raw: DataFrame,
    transform: Callable[[DataFrame], DataFrame],
    known: DataFrame | None,
    columns: ContentColumns,
    work: Path,
) -> DataFrame:
    """Return the row's own columns, its features and `CONTENT`, for each raw row.

    Parameters
    ----------
    transform : gives one row, or none, for a row; it has the keys, the time, the features.
    known : rows that were computed before, with `CONTENT`.
    work : empty folder for what is computed on the way.

    Raises
    ------
    InputError
        The raw rows lack a column, or the transformation gives more rows than it gets.

    Notes
    -----
    Of raw rows with the same keys and time, the last created counts.
    """
    columns.check(raw)
    rows = _settle(_distinct_rows(raw, columns), work / "wanted")
    wanted = rows.select(CONTENT).distinct()
    values = [CONTENT, *columns.features]
    found = []
    new = rows.dropDuplicates([CONTENT])
    if known is not None:
        same = known.select(*values).join(wanted, CONTENT, "left_semi")
        found.append(_settle(same.dropDuplicates([CONTENT]), work / "known"))
        new = new.join(found[0], CONTENT, "left_anti").select(*rows.columns)
    new = _settle(new, work / "new")
    if count := new.count():
        fresh = _settle(transform(new.drop(CONTENT)), work / "fresh")
        _check_count(columns.view, fresh.count(), count)
        keys = [*columns.keys, columns.time]
        found.append(fresh.join(new.select(*keys, CONTENT), keys).select(*values))
    return _join(rows, found, columns.row)


def _distinct_rows(raw: DataFrame, columns: ContentColumns) -> DataFrame:
    keys = [*columns.keys, columns.time]
    content = f.sha2(f.to_json(f.struct(*columns.content)), 256)
    complete = raw.dropna(subset=keys).withColumn(CONTENT, content)
    newness = [columns.created] if columns.created else []
    return newest_by_key(
        complete,
        list(map(f.col, complete.columns)),
        list(map(f.col, keys)),
        list(map(f.col, [*newness, CONTENT])),
    )


def _join(rows: DataFrame, found: Sequence[DataFrame], own: Sequence[str]) -> DataFrame:
    values = found[0]
    for more in found[1:]:
        values = values.unionByName(more)
    return rows.select(*own, CONTENT).join(values, CONTENT)


def _settle(frame: DataFrame, folder: Path) -> DataFrame:
    """Write a data frame, and return what was written."""
    frame.write.parquet(spark_path(folder))
    return frame.sparkSession.read.schema(frame.schema).parquet(spark_path(folder))


def _check_count(view: str, got: int, expected: int) -> None:
    if got > expected:
        raise InputError.say(
            f"transformation of view {view!r}",
            f"gave {got} rows for {expected} contents, expected at most one each",
            hint="remove the view's tag content_columns: its features depend on more than these",
        )
