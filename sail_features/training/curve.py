"""The loss curve of a run: one JSON line a step, cut where a killed run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

CURVE: Final = "curve.jsonl"


class Curve:
    """Appends a line a step; lines from ``step`` on, of a run that was killed, are dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / CURVE
        kept = [line for line in read_curve(folder) if line["step"] < step]
        unfinished = self.path.with_name(f".{CURVE}")
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        unfinished.rename(self.path)
        self._file = self.path.open("a", encoding="utf-8", buffering=1)

    def add(self, line: Mapping[str, Any]) -> None:
        """Append one step."""
        self._file.write(json.dumps(line) + "\n")

    def settle(self) -> None:
        """Make sure that what was appended outlives the machine, before a checkpoint does."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """Return the steps of a run so far; a last line that was cut off by a kill is left out."""
    path = folder / CURVE
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]
