"""What every benchmark ends with: a table of bars, a JSON file, and an exit code."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Bar:
    """A figure that was measured, and what it has to reach.

    ``sense``: ``at most`` or ``at least``.
    """

    name: str
    measured: float
    sense: Literal["at most", "at least"]
    bar: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether the bar is reached."""
        if self.sense == "at most":
            return self.measured <= self.bar
        return self.measured >= self.bar


def finish(name: str, bars: Sequence[Bar], details: Mapping[str, Any]) -> None:
    """Print the bars, write ``results/<name>.json``, and exit 1 where one is short."""
    table = Table(title=name)
    for heading in ("what", "measured", "bar", ""):
        table.add_column(heading)
    for bar in bars:
        words = f"{bar.sense} {bar.bar:g} {bar.unit}"
        verdict = "[green]holds[/green]" if bar.holds else "[red]short[/red]"
        table.add_row(bar.name, f"{bar.measured:.3g} {bar.unit}", words, verdict)
    Console().print(table)
    result = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "bars": [asdict(bar) | {"holds": bar.holds} for bar in bars],
        "details": dict(details),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if all(bar.holds for bar in bars) else 1)


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to compare figures between machines."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_at_end": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
    }
