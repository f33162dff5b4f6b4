"""The manifest of a partition: what it holds, what it was made from, and by what.

It is written last, so its existence means that the partition is complete. Two
runs with the same `run_key` make the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sail_features import __version__
from sail_features.errors import InputError

MANIFEST_NAME: Final = "_manifest.json"


class InputRef(BaseModel):
    """One partition that a job read."""

    model_config = ConfigDict(frozen=True)

    table: str
    as_of: datetime
    fingerprint: str


class Choice(BaseModel):
    """A setting that the job chose by itself, and why (device, dtype)."""

    model_config = ConfigDict(frozen=True)

    value: str
    reason: str


class Manifest(BaseModel):
    """What one partition holds and where it comes from.

    ``as_of`` is the exclusive end of the data that the job could see; ``since``
    its start, null where the partition holds everything before ``as_of``.
    ``lineage`` names encoders, feature sets and what they were trained until.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    as_of: datetime
    since: datetime | None = None
    rows: int
    dropped: Mapping[str, int] = Field(default_factory=dict)
    quarantined: Mapping[str, int] = Field(default_factory=dict)
    inputs: tuple[InputRef, ...] = ()
    config: Mapping[str, Any] = Field(default_factory=dict)
    config_sha256: str
    code_version: str = __version__
    lineage: Mapping[str, Any] = Field(default_factory=dict)
    choices: Mapping[str, Choice] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: Mapping[str, str] = Field(default_factory=dict)
    """SHA-256 of the data of each file, by name (`sha256_of_pages`)."""
    run_key: str
    created: datetime
    """When these bytes were first made; a run that repeats them keeps it."""
    seconds: float

    @property
    def fingerprint(self) -> str:
        """Return one hash over all data files."""
        return sha256_of(dict(self.files))

    def as_input(self) -> InputRef:
        """Return the reference by which a later job names this partition."""
        return InputRef(table=self.table, as_of=self.as_of, fingerprint=self.fingerprint)

    def write(self, folder: Path) -> None:
        """Write the manifest into ``folder``, completing the partition."""
        text = self.model_dump_json(indent=2)
        temporary = folder / f".{MANIFEST_NAME}"
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.rename(folder / MANIFEST_NAME)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a partition, or None where it isn't complete.

    Raises
    ------
    InputError
        The manifest can't be read, or a newer version of this package wrote it.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError.manifest_unreadable(path, error) from error


def sha256_of(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of key order.

    Examples
    --------
    >>> sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_pages(path: Path) -> str:
    """Return the SHA-256 of a Parquet file's data, up to its footer.

    The footer lists each column's encodings in an order that Spark's Parquet writer
    takes from a hash set: it changes from JVM to JVM while the data stays the same.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(-8, 2)
        footer = int.from_bytes(file.read(4), "little")
        remaining = path.stat().st_size - 8 - footer
        file.seek(0)
        while remaining:
            chunk = file.read(min(remaining, 1 << 20))
            digest.update(chunk)
            remaining -= len(chunk)
    return digest.hexdigest()


def run_key(
    table: str,
    as_of: datetime,
    since: datetime | None,
    inputs: Sequence[InputRef],
    config: Mapping[str, Any],
) -> str:
    """Return the hash of all that determines a partition's bytes."""
    return sha256_of(
        {
            "table": table,
            "as_of": as_of.isoformat(),
            "since": since.isoformat() if since else None,
            "inputs": [ref.model_dump(mode="json") for ref in inputs],
            "config": dict(config),
            "code": __version__,
        }
    )
