"""The demo end to end: time and memory of each step, and how they grow with impressions.

Runs the demo's command as a user would, each time in a process and a workspace of its
own: the synthetic world and online_retail (where ../shared is) with the real MiniLM,
then synthetic worlds of 10,000, 100,000 and 1,000,000 impressions with the hash
encoder, whose cost doesn't hide that of the other steps. Takes about ten minutes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish

ROOT: Final = Path(__file__).parents[1]
RETAIL: Final = ROOT.parent / "shared" / "data" / "online_retail"
SIZES: Final = (10_000, 100_000, 1_000_000)
STEPS: Final = ("baseline", "match", "join")
PATIENCE: Final = 30
"""Rounds after the best one that early stopping waits for, `EvalConfig`'s default."""


def run_demo(*options: str, encoder: str = "transformer_text") -> dict[str, Any]:
    """Run ``sail-features demo`` and return its summary."""
    with tempfile.TemporaryDirectory() as folder:
        settings = yaml.safe_load((ROOT / "sail.yaml").read_text())
        settings["encoder"]["kind"] = encoder
        settings["eval"]["max_rows"] = 2 * SIZES[-1]
        config = Path(folder) / "sail.yaml"
        config.write_text(yaml.safe_dump(settings))
        workspace = Path(folder) / "demo"
        command = [
            shutil.which("sail-features") or str(Path(sys.executable).parent / "sail-features")
        ]
        command += ["demo", "--config", str(config), "--workspace", str(workspace), *options]
        subprocess.run(command, cwd=ROOT, check=True)
        summary: dict[str, Any] = json.loads((workspace / "summary.json").read_text())
        return summary


def world_of(impressions: int) -> list[str]:
    """Return the options of a world with about 66 impressions a user."""
    users, items = max(100, impressions // 66), 5_000
    sizes = {"impressions": impressions, "users": users, "items": items}
    return [word for name, value in sizes.items() for word in ("--world", f"{name}={value}")]


def seconds_a_round(summary: dict[str, Any]) -> float:
    """Return the judge's time a boosting round: more data also means more rounds."""
    rounds = [best for arm in summary["arms"].values() for best in arm["best_iterations"]]
    seconds: float = summary["steps"]["judge"]["seconds"]
    return seconds / (sum(rounds) + PATIENCE * len(rounds))


def main() -> None:
    """Run all demos and hold them against the bars."""
    whole = {"synthetic": run_demo()}
    if RETAIL.is_dir():
        whole["online_retail"] = run_demo("--data", str(RETAIL))
    grown = {size: run_demo(*world_of(size), encoder="hash") for size in SIZES}
    bars = []
    for name, summary in whole.items():
        bars.append(Bar(f"{name}: whole demo", summary["seconds"], "at most", 300, "s"))
        bars.append(Bar(f"{name}: peak memory", summary["peak_gb"], "at most", 8, "GB"))
    small, large = grown[SIZES[1]], grown[SIZES[2]]
    for step in STEPS:
        growth = large["steps"][step]["seconds"] / small["steps"][step]["seconds"]
        bars.append(Bar(f"{step}: 1M against 100k impressions", growth, "at most", 12, "x"))
    growth = seconds_a_round(large) / seconds_a_round(small)
    bars.append(Bar("judge, a round: 1M against 100k impressions", growth, "at most", 12, "x"))
    peak = grown[SIZES[-1]]["peak_gb"]
    bars.append(Bar("1M impressions: peak memory", peak, "at most", 8, "GB"))
    keep = ("rows", "users", "seconds", "peak_gb", "steps", "arms", "lift", "placebo")
    found = {**whole, **{f"{size} impressions": summary for size, summary in grown.items()}}
    finish("spine", bars, {name: {key: s[key] for key in keep} for name, s in found.items()})


if __name__ == "__main__":
    main()
