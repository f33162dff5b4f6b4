"""Tables on disk: ``<root>/<table>/as_of=<time>/part-*.parquet`` and a manifest.

A job writes one partition into a staging folder beside the table, and the
finished folder replaces the old one by two renames, so a reader never sees half a
partition, and a killed job loses nothing: killed between the two renames, some
microseconds, it leaves the old partition aside, and the table's next writer puts it
back. One writer a table at a time. Any file system that all machines mount will do;
object stores need a mount.

A partition with ``since`` adds to those before it; one without holds everything
before its ``as_of`` and supersedes them (`TableStore.covering`).
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from sail_features.errors import InputError, MissingTableError
from sail_features.manifest import (
    Choice,
    InputRef,
    Manifest,
    read_manifest,
    run_key,
    sha256_of,
    sha256_of_pages,
)

PARTITION_PREFIX: Final = "as_of="
STAGING_PREFIX: Final = "_staging-"
REPLACED_PREFIX: Final = "_replaced-"
MADE_BY: Final[Mapping[str, str]] = {
    "items": "import",
    "events": "import",
    "impressions": "import",
    "item_embedding": "encode",
    "user_history": "history",
    "user_interest": "interests",
    "user_cluster": "clusters",
    "item_pair": "pairs",
    "search_pair": "pairs",
    "user_item_baseline": "baseline",
    "user_item_match": "match",
    "user_item_match_placebo": "match --placebo-seed 0",
    "user_item_match_random": "match --random-seed 0",
    "user_item_match_lagged": "match --delay 1h",
    "user_item_candidate": "match --candidates PATH",
}


def parse_as_of(text: str, where: str = "as_of") -> datetime:
    """Read a date or an ISO time as a moment in UTC; ``where`` it stood is for the message.

    Examples
    --------
    >>> parse_as_of("2011-11-07").isoformat()
    '2011-11-07T00:00:00+00:00'
    >>> parse_as_of("2011-11-07T06:30:00+01:00").isoformat()
    '2011-11-07T05:30:00+00:00'
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError.say(
            where, f"{text!r} is no date", hint="write it like 2026-03-31 or 2026-03-31T06:00Z"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def format_as_of(as_of: datetime) -> str:
    """Return the form of ``as_of`` that folder names carry.

    Examples
    --------
    >>> format_as_of(parse_as_of("2011-11-07T00:00Z"))
    '2011-11-07'
    >>> format_as_of(parse_as_of("2011-11-07T06:30Z"))
    '2011-11-07T063000Z'
    """
    moment = as_of.astimezone(UTC)
    if moment.hour == moment.minute == moment.second == moment.microsecond == 0:
        return moment.strftime("%Y-%m-%d")
    if moment.microsecond:
        return moment.strftime("%Y-%m-%dT%H%M%S.%fZ")
    return moment.strftime("%Y-%m-%dT%H%M%SZ")


@dataclass
class StagedPartition:
    """A partition being written: fill ``folder``, then state what happened.

    ``created`` goes into every row. It is the first time that these very bytes
    were made, so that a repeated run writes the same bytes.
    """

    folder: Path
    created: datetime
    dropped: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def write(self, table: pa.Table) -> None:
        """Write one Arrow table as the partition's only file."""
        pq.write_table(table, self.folder / "part-00000.parquet", compression="zstd")


class TableStore:
    """A folder of tables.

    Parameters
    ----------
    root : holds one folder a table; made on the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def partition(self, table: str, as_of: datetime) -> Path:
        """Return the folder of one partition, whether it exists or not."""
        return self.root / table / f"{PARTITION_PREFIX}{format_as_of(as_of)}"

    def glob(self, table: str) -> str:
        """Return the pattern that matches the data files of all partitions."""
        return str(self.root / table / f"{PARTITION_PREFIX}*" / "*.parquet")

    def manifests(self, table: str) -> tuple[Manifest, ...]:
        """Return the manifests of all complete partitions, oldest first."""
        folder = self.root / table
        if not folder.is_dir():
            return ()
        found = (read_manifest(path) for path in folder.glob(f"{PARTITION_PREFIX}*"))
        return tuple(sorted((m for m in found if m is not None), key=lambda m: m.as_of))

    def covering(self, table: str, as_of: datetime | None = None) -> tuple[Manifest, ...]:
        """Return the partitions that together hold everything before ``as_of``.

        They run back from the newest one no later than ``as_of`` to the first that
        has no ``since``; each begins where the one before it ends.

        Raises
        ------
        MissingTableError
            There is none, or one begins where no other ends.
        """
        complete = {manifest.as_of: manifest for manifest in self.manifests(table)}
        chain = [self.latest(table, as_of)]
        while (needed_until := chain[-1].since) is not None:
            older = [end for end in complete if end < chain[-1].as_of]
            if not older:  # the first partition: nothing was ever known before its since
                break
            if needed_until not in complete:
                raise MissingTableError.no_link(table, chain[-1].as_of, needed_until, max(older))
            chain.append(complete[needed_until])
        return tuple(reversed(chain))

    def latest(self, table: str, as_of: datetime | None = None) -> Manifest:
        """Return the newest partition's manifest, of those no later than ``as_of``.

        Raises
        ------
        MissingTableError
            There is none.
        """
        complete = self.manifests(table)
        if not complete:
            raise MissingTableError.not_written(
                table, self.root / table, MADE_BY.get(table, "--help")
            )
        known = [m for m in complete if as_of is None or m.as_of <= as_of]
        if not known:
            earliest = format_as_of(complete[0].as_of)
            raise MissingTableError.too_early(table, as_of, earliest)
        return known[-1]

    def files(self, manifests: Sequence[Manifest]) -> list[str]:
        """Return the paths of the data files of these partitions."""
        return [
            str(self.partition(manifest.table, manifest.as_of) / name)
            for manifest in manifests
            for name in sorted(manifest.files)
        ]

    def read(self, table: str, as_of: datetime | None = None) -> pa.Table:
        """Read everything before ``as_of`` into memory."""
        files = self.files(self.covering(table, as_of))
        parts = [pq.ParquetFile(path).read() for path in files]
        # An optional column that only some partitions have is null in the others.
        return pa.concat_tables(parts, promote_options="default")

    @contextmanager
    def replace_partition(
        self,
        table: str,
        as_of: datetime,
        *,
        since: datetime | None = None,
        inputs: Sequence[InputRef] = (),
        config: Mapping[str, Any],
    ) -> Iterator[StagedPartition]:
        """Write one partition; publish it when the block ends without an error.

        Parameters
        ----------
        table, as_of, since : which partition, and the time it covers.
        inputs : the partitions read, named in the manifest.
        config : the resolved settings that shaped the bytes.
        """
        key = run_key(table, as_of, since, inputs, config)
        target = self.partition(table, as_of)
        target.parent.mkdir(parents=True, exist_ok=True)
        _restore_interrupted(target.parent)
        _remove_abandoned_staging(target.parent)
        previous = read_manifest(target)
        same = previous is not None and previous.run_key == key
        started = time.monotonic()
        staged = StagedPartition(
            folder=_new_staging_folder(target),
            created=previous.created if previous and same else datetime.now(UTC),
        )
        try:
            yield staged
            files = _settle_files(staged.folder)
            manifest = Manifest(
                table=table,
                as_of=as_of,
                since=since,
                rows=sum(pq.read_metadata(staged.folder / name).num_rows for name in files),
                dropped=staged.dropped,
                quarantined=staged.quarantined,
                inputs=tuple(inputs),
                config=config,
                config_sha256=sha256_of(dict(config)),
                lineage=staged.lineage,
                choices=staged.choices,
                notes=tuple(staged.notes),
                files=files,
                run_key=key,
                created=staged.created,
                seconds=round(time.monotonic() - started, 3),
            )
            manifest.write(staged.folder)
            _swap(staged.folder, target)
        finally:
            shutil.rmtree(staged.folder, ignore_errors=True)

    @contextmanager
    def working_folder(self, table: str) -> Iterator[Path]:
        """Give the one folder for work beside the partitions of ``table``; then remove it.

        What a killed process left is removed by the table's next writer.
        """
        place = self.root / table / "work"
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned_staging(place.parent)
        folder = _new_staging_folder(place)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _new_staging_folder(target: Path) -> Path:
    name = f"{STAGING_PREFIX}{target.name}-{socket.gethostname()}-{os.getpid()}"
    folder = target.parent / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _remove_abandoned_staging(table: Path) -> None:
    """Remove what processes of this host left behind when they were killed."""
    for folder in table.glob(f"{STAGING_PREFIX}*"):
        host, _, pid = folder.name.removeprefix(STAGING_PREFIX).rpartition("-")
        if host.endswith(f"-{socket.gethostname()}") and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _settle_files(folder: Path) -> dict[str, str]:
    """Give the data files stable names, drop all else, and return their hashes."""
    parts = sorted(folder.glob("*.parquet"))
    for number, path in enumerate(parts):
        path.rename(folder / f".settled-{number:05d}")
    for path in folder.iterdir():
        # Beside a part, Hadoop leaves its checksum as .part-*.crc.
        if not path.name.startswith(".settled-"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    hashes = {}
    for number in range(len(parts)):
        path = folder / f"part-{number:05d}.parquet"
        (folder / f".settled-{number:05d}").rename(path)
        hashes[path.name] = sha256_of_pages(path)
    return hashes


def _swap(staged: Path, target: Path) -> None:
    replaced = target.with_name(REPLACED_PREFIX + target.name)
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        target.rename(replaced)
    staged.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)


def _restore_interrupted(table: Path) -> None:
    """Put back a partition whose replacement was killed between the two renames."""
    for replaced in table.glob(f"{REPLACED_PREFIX}*"):
        target = replaced.with_name(replaced.name.removeprefix(REPLACED_PREFIX))
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            replaced.rename(target)
