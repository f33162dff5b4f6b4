"""Joined rows on disk, found again by what they were joined from.

A join is asked again by every ``eval``, ``eval --ablate`` and ``eval calibrate`` of the
same tables. One is kept, the newest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from ranking_eval.experiment import Arm

PREFIX: Final = "joined-"
ARMS: Final = b"arms"


def load_join(folder: Path, fingerprint: str) -> tuple[pa.Table, tuple[Arm, ...]] | None:
    """Return the rows and arms that were kept under a fingerprint; None where none were."""
    path = _path(folder, fingerprint)
    if not path.is_file():
        return None
    table = pq.read_table(path)
    arms = tuple(
        Arm(one["name"], tuple(one["columns"]), one["service"])
        for one in json.loads(table.schema.metadata[ARMS])
    )
    return table.replace_schema_metadata(None), arms


def keep_join(folder: Path, fingerprint: str, rows: pa.Table, arms: Sequence[Arm]) -> None:
    """Write rows and arms, whole or not at all, and remove those of other fingerprints."""
    path = _path(folder, fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    described = json.dumps([asdict(arm) for arm in arms])
    pq.write_table(rows.replace_schema_metadata({ARMS: described}), unfinished, compression="zstd")
    for other in folder.glob(f"{PREFIX}*.parquet"):
        other.unlink()
    unfinished.rename(path)


def _path(folder: Path, fingerprint: str) -> Path:
    return folder / f"{PREFIX}{fingerprint[:16]}.parquet"
