"""Where a batch feature view's rows are kept: one partition a day, each replaced whole.

A partition is one of `sail_features.tables`: written aside, put in place by renaming, with
a manifest. So a window that is materialized again leaves the same rows, one that cuts a
day keeps that day's other rows, and a killed run leaves every day as it was or as it
shall be. It takes a file system that all machines mount, and one writer at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features.errors import InputError
from sail_features.manifest import Manifest
from sail_features.spark.inputs import read_partitions, spark_path
from sail_features.tables import TableStore

_DAY: Final = "_day"
_ONE_DAY: Final = timedelta(days=1)
_DAY_US: Final = 86_400_000_000
_MOMENT: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class DailySink:
    """The partitions in one folder.

    Parameters
    ----------
    folder : its name is the table's.
    time : column of the rows' times, by whose UTC days they are kept.
    lineage : what the rows are made by; rows of another are never kept beside them.
    """

    def __init__(
        self, spark: SparkSession, folder: Path, time: str, lineage: Mapping[str, str]
    ) -> None:
        self.tables = TableStore(folder.parent)
        self.table = folder.name
        self._spark = spark
        self._time = time
        self._lineage = dict(lineage)

    def check_lineage(self, start: datetime, end: datetime) -> None:
        """Raise where rows from outside of a window are of another lineage.

        Raises
        ------
        InputError
            The sink would hold both kinds once the window is replaced.
        """
        for part in self.tables.manifests(self.table):
            inside = part.since is not None and start <= part.since and part.as_of - _MOMENT <= end
            if part.rows and not inside and dict(part.lineage) != self._lineage:
                raise InputError.say(
                    str(self.tables.partition(self.table, part.as_of)),
                    f"its rows are of {dict(part.lineage)}, those to write of {self._lineage}",
                    hint="materialize from the beginning, or into another path",
                )

    def known(self) -> DataFrame | None:
        """Return all rows of the same lineage, or None where there are none."""
        parts = [m for m in self.tables.manifests(self.table) if dict(m.lineage) == self._lineage]
        return self._read(parts)

    def replace(
        self, rows: DataFrame, start: datetime, end: datetime, work: Path
    ) -> DataFrame | None:
        """Put ``rows`` in place of all those from ``start`` to ``end``, both included.

        Parameters
        ----------
        work : folder beside the partitions, for what is written and not yet in place.

        Returns
        -------
        The rows of the window, read back from the partitions that were written; None
        where it has none.

        Raises
        ------
        InputError
            The columns aren't those of the rows that are kept beside them.

        Notes
        -----
        ``rows`` is computed once, by one Spark job.
        """
        touched = [m for m in self.tables.manifests(self.table) if _overlaps(m, start, end)]
        inside = self._within(start, end)
        staged = work / "rows"
        self._write(self._beside_kept(rows.where(inside), touched, ~inside), staged)
        days = {_day_of(folder): folder for folder in staged.glob(f"{_DAY}=*")}
        for day in sorted({*days, *(m.as_of - _ONE_DAY for m in touched)}):
            self._publish(day, days.get(day))
        ends = {day + _ONE_DAY for day in days}
        written = self._read([m for m in self.tables.manifests(self.table) if m.as_of in ends])
        return None if written is None else written.where(inside)

    def _beside_kept(self, rows: DataFrame, touched: Sequence[Manifest], kept: Column) -> DataFrame:
        earlier = self._read(touched)
        if earlier is None:
            return rows
        try:
            return rows.unionByName(earlier.where(kept))
        except AnalysisException as error:
            raise InputError.say(
                str(self.tables.root / self.table),
                f"has columns {', '.join(earlier.columns)}, the rows to write have "
                f"{', '.join(rows.columns)}, or they differ in type",
                hint="materialize into another path",
            ) from error

    def _write(self, rows: DataFrame, folder: Path) -> None:
        # Days of one task each, large ones of several: Spark splits them by size.
        since_1970 = f.unix_micros(self._time)
        day = ((since_1970 - f.pmod(since_1970, f.lit(_DAY_US))) / _DAY_US).cast("int")
        by_day = rows.withColumn(_DAY, day).hint("rebalance", _DAY)
        by_day.write.partitionBy(_DAY).parquet(spark_path(folder))

    def _publish(self, day: datetime, files: Path | None) -> None:
        with self.tables.replace_partition(
            self.table, day + _ONE_DAY, since=day, config=self._lineage
        ) as partition:
            partition.lineage.update(self._lineage)
            for path in files.glob("*.parquet") if files else ():
                shutil.move(path, partition.folder)

    def _read(self, parts: Sequence[Manifest]) -> DataFrame | None:
        filled = [part for part in parts if part.files]
        return read_partitions(self._spark, self.tables, filled) if filled else None

    def _within(self, start: datetime, end: datetime) -> Column:
        return f.col(self._time).between(f.lit(start), f.lit(end))


def _overlaps(part: Manifest, start: datetime, end: datetime) -> bool:
    return part.as_of > start and (part.since is None or part.since <= end)


def _day_of(folder: Path) -> datetime:
    return _EPOCH + int(folder.name.removeprefix(f"{_DAY}=")) * _ONE_DAY
