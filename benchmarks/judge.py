"""The judge: speed against scikit-learn, and whether its intervals tell the truth.

Speed on a million rows; coverage and false alarms in five worlds of clustered clicks,
planted lifts against predicted power, 21 null slices, and A/A experiments that differ
in the seed of LightGBM only. Takes about six minutes; ``--quick`` takes one, on fewer
runs, and writes no result.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from benchmarks.judge_simulation import (
    simulate_lifts,
    simulate_seeds,
    simulate_slices,
    simulate_worlds,
)
from benchmarks.judge_speed import measure_speed

Part = Callable[[], tuple[list[Bar], dict[str, Any]]]


def main(*, quick: bool) -> None:
    """Run every part and hold it against its bars."""
    parts: dict[str, Part] = {
        "speed": lambda: measure_speed(1_000_000, 1_000_000 if quick else 10_000_000),
        "worlds": lambda: simulate_worlds(40 if quick else 2000),
        "planted lifts": lambda: simulate_lifts(40 if quick else 1000),
        "null slices": lambda: simulate_slices(40 if quick else 1000),
        "seeds": lambda: simulate_seeds(1, 4) if quick else simulate_seeds(8, 25),
    }
    bars, details = [], {}
    for name, part in parts.items():
        began = time.perf_counter()
        of_part, details[name] = part()
        bars += of_part
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    if quick:
        for bar in bars:
            print(f"{bar.name}: {bar.measured:.3g} ({bar.sense} {bar.bar:g})")
        return
    finish("judge", bars, details)


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
