"""Match features: the kernel against the ways people write them, and against the machine.

All sides compute the same columns in one process, turn by turn, in CPU seconds; their
numbers are compared, too. The machine's peak is that of numpy's matrix product in the
same minutes. Takes about four minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from benchmarks.match_by_row import match_row
from benchmarks.match_world import COLUMNS, FIRST_FEATURES, WINDOW, World, make_world
from sail_features.history import US_PER_DAY, compute_slices
from sail_features.match.events import MatchLog
from sail_features.match.family import columns_of

DIMS: Final = (64, 384)
ROWS: Final = 200_000
SAMPLED_ROWS: Final = 4_000
"""Rows that the slow sides compute."""
ROUNDS: Final = 3
FEWER: Final = f"kernel, {len(columns_of(FIRST_FEATURES))} of its columns"


def alternate(sides: dict[str, Callable[[], Any]], clock: Callable[[], float]) -> dict[str, float]:
    """Run all sides turn by turn, some rounds; return each one's best time in seconds."""
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(ROUNDS):
        for name, work in sides.items():
            start = clock()
            work()
            best[name] = min(best[name], clock() - start)
    return best


def by_numpy_slices(
    world: World, vectors: NDArray[np.float32], sample: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Compute sampled rows one by one, each on a slice of the user's sorted events.

    ``vectors`` are the table's as float32: numpy takes long to convert float16.
    """
    rows, log = world.rows.take(sample), world.log
    slices = compute_slices(log, rows.user, rows.as_of_us, WINDOW)
    return np.array(
        [
            _match_row(
                world,
                vectors,
                rows.user[row],
                rows.item[row],
                rows.as_of_us[row],
                *(part[slices.start[row] : slices.stop[row]] for part in _columns(log)),
            )
            for row in range(len(sample))
        ],
        np.float32,
    )


def by_pandas_lists(
    world: World, vectors: NDArray[np.float32], sample: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Compute sampled rows from list columns, user by user, by ``apply``."""
    rows, log = world.rows.take(sample), world.log
    slices = compute_slices(log, rows.user, rows.as_of_us, WINDOW)
    frame = pd.DataFrame({"user": rows.user, "item": rows.item, "as_of_us": rows.as_of_us})
    for name, part in zip(("items", "weights", "times"), _columns(log), strict=True):
        stretches = zip(slices.start, slices.stop, strict=True)
        frame[name] = [part[start:stop].tolist() for start, stop in stretches]

    def of_row(row: Any) -> list[float]:
        lists = (np.array(row.items_, int), np.array(row.weights, np.float32), np.array(row.times))
        return _match_row(world, vectors, row.user, row["item"], row.as_of_us, *lists)

    frame = frame.rename(columns={"items": "items_"})
    grouped = frame.groupby("user", sort=False, group_keys=False)
    values = grouped[frame.columns.tolist()].apply(lambda rows: rows.apply(of_row, axis=1))
    return np.array(values.sort_index().tolist(), np.float32)


def _columns(log: MatchLog) -> tuple[NDArray[Any], ...]:
    return log.item, log.weight, log.time_us


def _match_row(
    world: World,
    vectors: NDArray[np.float32],
    user: int,
    item: int,
    as_of_us: int,
    items: NDArray[np.int64],
    weight: NDArray[np.float32],
    time_us: NDArray[np.int64],
) -> list[float]:
    target, mined = vectors[item], world.interests
    own = slice(mined.offsets[user], mined.offsets[user + 1])
    return match_row(
        vectors[items] @ target,
        weight,
        ((as_of_us - time_us) / US_PER_DAY).astype(np.float32),
        world.category[items] == world.category[item],
        (
            mined.vectors[own] @ target,
            mined.weight[own],
            ((as_of_us - mined.newest_us[own]) / US_PER_DAY).astype(np.float32),
            mined.size[own],
            mined.feedback[own],
        ),
    )


def kernel_bars(details: dict[str, Any]) -> list[Bar]:
    """Return the bars of one thread: against numpy and pandas by row, and against the peak."""
    bars = []
    square = np.random.default_rng(0).random((1024, 1024), np.float32)
    for dim in DIMS:
        world = make_world(dim, ROWS)
        sample = np.sort(np.random.default_rng(1).choice(ROWS, SAMPLED_ROWS, replace=False))
        found, vectors = world.match(), world.table.vectors.astype(np.float32)
        for slow in (by_numpy_slices, by_pandas_lists):
            np.testing.assert_allclose(
                found[sample], slow(world, vectors, sample), rtol=1e-3, atol=1e-4
            )
        seconds = alternate(
            {
                "kernel": world.match,
                FEWER: lambda: world.match(features=FIRST_FEATURES),  # noqa: B023
                "numpy": lambda: by_numpy_slices(world, vectors, sample),  # noqa: B023
                "pandas": lambda: by_pandas_lists(world, vectors, sample),  # noqa: B023
                "matrix product": lambda: square @ square,
            },
            time.process_time,
        )
        pairs = float(np.nansum(found[:, COLUMNS.index("history_count")], dtype=float))
        peak = 2 * 1024**3 / seconds["matrix product"]
        shares = {name: 2 * dim * pairs / seconds[name] / peak for name in ("kernel", FEWER)}
        rates = {
            "kernel": ROWS / seconds["kernel"],
            FEWER: ROWS / seconds[FEWER],
            "numpy": SAMPLED_ROWS / seconds["numpy"],
            "pandas": SAMPLED_ROWS / seconds["pandas"],
        }
        details[f"dim {dim}"] = {
            "rows_per_cpu_s": {name: round(rate) for name, rate in rates.items()},
            "pairs_per_row": round(pairs / ROWS, 1),
            "peak_gflop_per_s": round(peak / 1e9, 1),
            "share_of_peak": {name: round(share, 3) for name, share in shares.items()},
        }
        against_numpy, against_pandas = (rates["kernel"] / rates[n] for n in ("numpy", "pandas"))
        least = 25 if dim == 384 else 50
        bars.append(Bar(f"D={dim}: numpy slices by row", against_numpy, "at least", least, "x"))
        bars.append(Bar(f"D={dim}: pandas lists, apply", against_pandas, "at least", 60, "x"))
        if dim == 384:
            for name, share in shares.items():
                what = f"D=384: share of the peak, {name}"
                bars.append(Bar(what, share, "at least", 0.25, "of the peak"))
    return bars


def thread_bars(details: dict[str, Any]) -> list[Bar]:
    """Return the bar of two threads, in wall time, and that they give the same bits."""
    world = make_world(384, ROWS)
    np.testing.assert_array_equal(world.match(), world.match(threads=2))
    seconds = alternate(
        {"one": world.match, "two": lambda: world.match(threads=2)}, time.perf_counter
    )
    details["threads"] = {"wall_s": seconds, "load": os.getloadavg()[0]}
    speedup = seconds["one"] / seconds["two"]
    return [Bar("two threads against one, wall time", speedup, "at least", 1.8, "x")]


def memory_bars(details: dict[str, Any]) -> list[Bar]:
    """Return the bar of memory: what one more row adds beside what comes in and goes out."""
    added = {}
    for rows in (ROWS, 4 * ROWS):
        command = [sys.executable, __file__, "--memory", str(rows)]
        added[rows] = float(subprocess.run(command, check=True, capture_output=True).stdout)
    per_row = (added[4 * ROWS] - added[ROWS]) / (3 * ROWS)
    details["memory_mb"] = {str(rows): round(mb / 1e6, 1) for rows, mb in added.items()}
    return [Bar("memory a further row, beside its answer", per_row, "at most", 256, "bytes")]


def print_memory(rows: int) -> None:
    """Print by how much this process grows at most during a match, beyond the answer's size."""
    world = make_world(64, rows)
    world.match(world.rows.take(np.arange(100)))
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
    answer = world.match().nbytes
    print(_memory("VmHWM") - before - answer)


def _memory(name: str) -> int:
    """Return one of the kernel's figures of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def main() -> None:
    """Measure each group of bars."""
    details: dict[str, Any] = {"columns": len(COLUMNS), "rows": ROWS}
    groups: Sequence[Callable[[dict[str, Any]], list[Bar]]] = (
        kernel_bars,
        thread_bars,
        memory_bars,
    )
    threadpool_limits(1)
    finish("match", [bar for group in groups for bar in group(details)], details)


if __name__ == "__main__":
    if "--memory" in sys.argv:
        print_memory(int(sys.argv[-1]))
    else:
        main()
