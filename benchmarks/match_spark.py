"""The match job on Spark: its cost by rows, its memory, a heavy user, and Spark SQL.

CPU seconds are those of the whole process tree: driver, Java, Python workers. The world
is that of `match_world` at 384 dimensions, without mined interests, as tables on disk;
the job reads, shuffles, computes and writes Parquet. The bare kernel runs in this
process before and after each job that it is compared with.

1. A table of cost from 1e5 to 4e6 rows (1e7 with ``--large``), and the slope between one
   and four million rows against the bare kernel: from logs, and from events kept by user.
2. The memory of a worker that is its own, when rows, events and users grow.
3. A world in which one user has a million events and a hundred thousand rows.
4. Explode, join and aggregate in Spark SQL, slope between two small sizes.

Takes about eight minutes on two cores, with ``--large`` twelve.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from benchmarks.match_spark_sql import check_sql, has_product, match_by_sql, put_for_sql
from benchmarks.match_spark_world import (
    BASE,
    HEAVY_EVENTS,
    HEAVY_ROWS,
    NIGHT,
    base_world,
    config_of,
    put_world,
)
from benchmarks.match_world import WINDOW, World, make_world
from benchmarks.process_tree import cpu_of_each
from sail_features import columns as c
from sail_features.config import MatchConfig, SparkConfig
from sail_features.match.family import build_features, columns_of
from sail_features.match.kernel import compute_match
from sail_features.spark.match import run_match
from sail_features.spark.session import build_session
from sail_features.tables import TableStore

DIM: Final = 384
WARM_UP: Final = 50_000
SIZES: Final = (100_000, 1_000_000, 4_000_000)
LARGE: Final = 10_000_000
SQL_ROWS: Final = (20_000, 60_000)
SAMPLE_S: Final = 0.3
FEATURES: Final = build_features(MatchConfig(), categories=True)
COLUMNS: Final = columns_of(FEATURES)
SPARK: Final = SparkConfig(master="local[2,4]", driver_memory="2g", buckets=8)


class Cost:
    """Measures what happens within it; what watching the memory costs is taken off.

    A process that ends within it counts as far as it was last seen: Spark lets idle
    Python workers go while it works on SQL.
    """

    def __enter__(self) -> Cost:
        self._begin, self._wall = cpu_of_each(), time.perf_counter()
        self._last = dict(self._begin)
        self.worker_mb, self._watching_s = 0.0, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._last |= cpu_of_each()
        spent = sum(self._last.values()) - sum(self._begin.values())
        self.cpu_s = spent - self._watching_s
        self.wall_s = time.perf_counter() - self._wall

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.worker_mb = max(self.worker_mb, *map(own_mb, workers()), 0.0)
            self._last |= cpu_of_each()
        self._watching_s = time.thread_time()

    def told(self, rows: int) -> dict[str, float]:
        """Return the figures for the results' file."""
        return {
            "cpu_s": round(self.cpu_s, 2),
            "wall_s": round(self.wall_s, 2),
            "cpu_us_per_row": round(1e6 * self.cpu_s / rows, 2),
            "worker_mb": round(self.worker_mb),
        }


def workers() -> list[psutil.Process]:
    """Return Spark's Python processes."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if "pyspark.daemon" in _command(process)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def own_mb(process: psutil.Process) -> float:
    """Return the memory that a process shares with no other; the vectors are shared."""
    try:
        return float(process.memory_full_info().uss) / 1e6
    except psutil.Error:
        return 0.0


def bare_kernel(world: World) -> tuple[Any, float]:
    """Return the kernel's features of a world, and its CPU seconds."""
    begin = time.process_time()
    found = compute_match(
        world.rows, world.log, world.table, FEATURES, WINDOW, category=world.category
    )
    return found.values, time.process_time() - begin


def run_job(spark: SparkSession, store: TableStore, *, keep: bool = False) -> Cost:
    """Run the job over everything that was published."""
    config = config_of(DIM, SPARK.model_copy(update={"keep_user_events": keep}))
    with Cost() as cost:
        rows = run_match(spark, store, config, as_of=NIGHT).rows
    kept = ", events kept by user" if keep else ""
    print(f"{rows:,} rows{kept}: {cost.cpu_s:.1f} s of CPU in {cost.wall_s:.1f} s", flush=True)
    return cost


def check_bits(world: World, store: TableStore, values: Any) -> None:
    """Hold the job's rows of the first copy of the world against the kernel's, bit by bit."""
    found = store.read("user_item_match")
    first = found.filter(pc.is_in(found[c.USER_ID], pa.array(np.unique(world.rows.user))))
    found = first.sort_by([(name, "ascending") for name in c.PAIR])
    key = np.array([world.rows.user, world.rows.item, world.rows.as_of_us])
    order = np.lexsort((key[2], key[1], key[0]))
    order = order[np.append(True, np.any(np.diff(key[:, order]) != 0, axis=0))]
    for number, name in enumerate(COLUMNS):
        there = found[name].to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(there, values[order, number], err_msg=name)


@dataclass
class Slope:
    """Jobs of one and of four million rows, and the bare kernel's time about them."""

    costs: dict[int, Cost] = field(default_factory=dict)
    kernel_s: list[float] = field(default_factory=list)

    @property
    def us_per_row(self) -> float:
        """CPU of a further row."""
        return 1e6 * (self.costs[4 * BASE].cpu_s - self.costs[BASE].cpu_s) / (3 * BASE)

    @property
    def kernel_us_per_row(self) -> float:
        """CPU of a row in the bare kernel."""
        return 1e6 * float(np.median(self.kernel_s)) / BASE

    @property
    def share(self) -> float:
        """The bare kernel's part of a further row's CPU."""
        return self.kernel_us_per_row / self.us_per_row

    def told(self) -> dict[str, Any]:
        """Return the figures for the results' file."""
        return {
            "rows": {str(rows): cost.told(rows) for rows, cost in self.costs.items()},
            "slope_us_per_row": round(self.us_per_row, 2),
            "kernel_us_per_row": round(self.kernel_us_per_row, 2),
        }


def measure_size(
    spark: SparkSession, store: TableStore, world: World, rows: int, slope: Slope, *, keep: bool
) -> None:
    """Add a job to a slope and, where it is large enough to tell, the bare kernel about it."""
    if rows >= BASE:
        slope.kernel_s.append(bare_kernel(world)[1])
    slope.costs[rows] = run_job(spark, store, keep=keep)
    if rows >= BASE:
        values, seconds = bare_kernel(world)
        slope.kernel_s.append(seconds)
        if rows == BASE:
            check_bits(world, store, values)


def size_bars(spark: SparkSession, folder: Path) -> tuple[list[Bar], dict[str, Any]]:
    """Return the bars on cost and memory by the number of rows."""
    worlds = {
        rows: TableStore(folder / f"rows-{rows}")
        for rows in (WARM_UP, *SIZES, *([LARGE] if "--large" in sys.argv else []))
    }
    logs, kept = Slope(), Slope()
    for rows, store in worlds.items():
        world = put_world(store, DIM, rows)
        measure_size(spark, store, world, rows, logs, keep=False)
    for rows in (WARM_UP, BASE, 4 * BASE):  # afterwards: a worker doesn't give memory back
        run_job(spark, worlds[rows], keep=True)  # another night's work: sorts the events
        measure_size(spark, worlds[rows], base_world(DIM, min(rows, BASE)), rows, kept, keep=True)
    costs = logs.costs
    below = 1e6 * (costs[BASE].cpu_s - costs[SIZES[0]].cpu_s) / (BASE - SIZES[0])
    most = max(costs)
    memory = costs[most].worker_mb / costs[BASE].worker_mb
    bars = [
        Bar("slope 1M to 4M rows: the kernel's share", logs.share, "at least", 1 / 3, "of CPU"),
        Bar("the same, events kept by user", kept.share, "at least", 1 / 2, "of CPU"),
        Bar("linear: slope 1M to 4M", logs.us_per_row / below, "at most", 1.15, "x 1e5 to 1M"),
        Bar(f"a worker's memory, {most:.0e} of 1e6 rows", memory, "at most", 1.1, "x"),
    ]
    return bars, {"columns": len(COLUMNS), "logs": logs.told(), "kept": kept.told()}


def heavy_bars(spark: SparkSession, folder: Path) -> tuple[list[Bar], dict[str, Any]]:
    """Return the bars on a world with one heavy user, against the same without."""
    costs, added = {}, {}
    for heavy in (False, True):
        store = TableStore(folder / f"heavy-{heavy}")
        world = put_world(store, DIM, BASE, heavy=heavy)
        costs[heavy] = run_job(spark, store)
        added[heavy] = len(world.log) + BASE + heavy * (HEAVY_EVENTS + HEAVY_ROWS)
    wall, cpu = (
        getattr(costs[True], name) / getattr(costs[False], name) for name in ("wall_s", "cpu_s")
    )
    more = added[True] / added[False]
    bars = [
        Bar("1e6-event user: CPU, of its share of the data", cpu / more, "at most", 1.25, "x"),
        Bar("1e6-event user: wall time, of its share", wall / more, "at most", 1.5, "x"),
        Bar("1e6-event user: a worker's memory", costs[True].worker_mb / costs[False].worker_mb,
            "at most", 1.1, "x"),
    ]  # fmt: skip
    return bars, {str(heavy): cost.told(BASE) for heavy, cost in costs.items()}


def sql_bars(spark: SparkSession, folder: Path) -> tuple[list[Bar], dict[str, Any]]:
    """Return the bar against Spark SQL, by the slopes of both."""
    costs = {}
    for turn, rows in enumerate((SQL_ROWS[0], *SQL_ROWS)):  # the first warms up
        place = folder / f"sql-{turn}"
        world = make_world(DIM, rows)
        put_for_sql(world, place)
        with Cost() as cost:
            match_by_sql(spark, place)
        costs[rows] = cost
        check_sql(world, place)
    small, large = SQL_ROWS
    slope = (costs[large].cpu_s - costs[small].cpu_s) / (large - small)
    return [], {
        "rows": {str(rows): cost.told(rows) for rows, cost in costs.items()},
        "slope_us_per_row": round(1e6 * slope, 1),
        "vector_inner_product": has_product(spark),
    }


def main() -> None:
    """Measure everything and hold it against the bars."""
    spark = build_session(SPARK, "benchmark")
    bars: list[Bar] = []
    details: dict[str, Any] = {}
    groups: tuple[Callable[..., tuple[list[Bar], dict[str, Any]]], ...] = (
        size_bars,
        heavy_bars,
        sql_bars,
    )
    for group in groups:
        with tempfile.TemporaryDirectory() as name:
            found, details[group.__name__] = group(spark, Path(name))
            bars += found
    spark.stop()
    ours = details["size_bars"]["logs"]["slope_us_per_row"]
    theirs = details["sql_bars"]["slope_us_per_row"]
    bars.append(Bar("Spark SQL's CPU a row", theirs / ours, "at least", 40, "x"))
    finish("match_spark", bars, details)


if __name__ == "__main__":
    main()
