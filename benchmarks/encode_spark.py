"""The encode job on Spark: against plain processes, its transport, its second run, its memory.

1. ``local[2]`` against the same encoder in two plain processes, wall time of the encode
   stage alone (session start, imports and weights excluded on both sides).
2. Transport: a model that computes nothing, 384 numbers out to Parquet, CPU of the whole
   process tree, by the job's Arrow batches and by ``mapInPandas``; reading alone is
   taken off both.
3. A second night with 1 % of the items changed, of the first night's encode time.
4. Memory of driver, Java and workers when the table grows tenfold.

Real texts of ifdb, with numbers appended where more are needed than there are. Takes
about eight minutes on two cores.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import SparkSession
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from benchmarks.encode import load_texts
from sail_features import columns as c
from sail_features.config import EncoderConfig, SailConfig, SparkConfig
from sail_features.encoders.devices import Placement
from sail_features.encoders.pipeline import EncodePipeline
from sail_features.encoders.transformer_text import TransformerTextEncoder
from sail_features.schemas import ITEMS, conform
from sail_features.spark.content_files import CONTENT
from sail_features.spark.encode import run_encode
from sail_features.spark.encode_task import ENCODED, contents_in, encode_windows
from sail_features.spark.session import ON_THIS_MACHINE, build_session
from sail_features.steps import StepMeter
from sail_features.tables import TableStore

PROCESSES: Final = 2
TEXTS: Final = 20_000
MAX_TOKENS: Final = 64
CHANGED: Final = TEXTS // 100
WARM_UP: Final = 200
TRANSPORTED: Final = 200_000
SIZES: Final = (100_000, 1_000_000)
DIM: Final = 384
ROUNDS: Final = 2
NIGHT: Final = datetime(2026, 1, 2, tzinfo=UTC)

# Java takes its whole heap at once, as a container's Java may: what grows is what matters.
SPARK: Final = SparkConfig(
    master=f"local[{PROCESSES},4]",
    driver_memory="1g",
    conf={
        "spark.driver.extraJavaOptions": " ".join(
            [ON_THIS_MACHINE["spark.driver.extraJavaOptions"], "-Xms1g", "-XX:+AlwaysPreTouch"]
        )
    },
)


def many_texts(count: int) -> list[str]:
    """Return ``count`` different texts of real lengths."""
    real = load_texts("ifdb")
    return [f"{row // len(real)} {real[row % len(real)]}" for row in range(count)]


def put_items(store: TableStore, texts: Sequence[str], as_of: datetime, **columns: Any) -> None:
    """Publish items 0, 1, ... described a day before ``as_of``."""
    when = [as_of - timedelta(days=1)] * len(texts)
    table = pa.table(
        {c.ITEM_ID: np.arange(len(texts)), c.EVENT_TIMESTAMP: when, c.TEXT: texts, **columns}
    )
    with store.replace_partition("items", as_of, config={}) as partition:
        partition.write(conform(table, ITEMS))


# ---- 1 and 3: the job against plain processes, and a second night


def encode_plainly(texts: Sequence[str], barrier: Barrier, seconds: Any) -> None:
    """Encode in this process when all are ready, and tell how long it took."""
    torch.set_num_threads(1)
    pipeline = EncodePipeline(
        TransformerTextEncoder(max_tokens=MAX_TOKENS, placement=Placement(threads=1))
    )
    pipeline.encode(texts[:WARM_UP])
    barrier.wait()
    begin = time.perf_counter()
    pipeline.encode(texts)
    seconds.put(time.perf_counter() - begin)


def plain_seconds(texts: Sequence[str]) -> float:
    """Return the time of the slower of two processes that share the texts."""
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(PROCESSES), context.Queue()
    shares = [texts[part::PROCESSES] for part in range(PROCESSES)]
    processes = [
        context.Process(target=encode_plainly, args=(share, barrier, seconds)) for share in shares
    ]
    for process in processes:
        process.start()
    slowest = max(seconds.get() for _ in processes)
    for process in processes:
        process.join()
    return slowest


def nights(spark: SparkSession, folder: Path, texts: Sequence[str]) -> tuple[Any, Any, float]:
    """Return the summaries of a first and a second night, and the second's whole time."""
    config = SailConfig(encoder=EncoderConfig(max_tokens=MAX_TOKENS), spark=SPARK)
    warm = TableStore(folder / "warm")
    put_items(warm, texts[:WARM_UP], NIGHT)
    run_encode(spark, warm, config, as_of=NIGHT)
    store = TableStore(folder / "nights")
    put_items(store, texts, NIGHT)
    first = run_encode(spark, store, config, as_of=NIGHT)
    next_night = NIGHT + timedelta(days=1)
    put_items(store, [f"new {text}" for text in texts[:CHANGED]] + texts[CHANGED:], next_night)
    begin = time.perf_counter()
    second = run_encode(spark, store, config, as_of=next_night)
    return first.lineage["summary"], second.lineage["summary"], time.perf_counter() - begin


def job_bars(spark: SparkSession, folder: Path) -> tuple[list[Bar], dict[str, Any]]:
    """Return the bars on the job with the real model."""
    texts = many_texts(TEXTS)
    plain = plain_seconds(texts)
    first, second, took = nights(spark, folder, texts)
    bars = [
        Bar("local[2] against two plain processes", plain / first["seconds"], "at least", 0.9, "x"),
        Bar("1 % changed: whole second night", took / first["seconds"], "at most", 0.05, "x"),
        Bar(
            "1 % changed: its encoding", second["seconds"] / first["seconds"], "at most", 0.05, "x"
        ),
    ]
    return bars, {"plain_s": plain, "first": first, "second": second, "second_whole_s": took}


# ---- 2: transport


class NoModel:
    """An encoder that computes nothing."""

    encoder_id, dim, device, trained_until, window_rows = "none", DIM, "cpu", None, 32_768

    def load(self) -> None:
        """Need no weights."""

    def prepare(self, contents: Sequence[str]) -> list[int]:
        """Return the lengths."""
        return [len(text) for text in contents]

    def cost(self, prepared: int) -> int:
        """Return the length."""
        return prepared

    def forward(self, batch: Sequence[int]) -> Any:
        """Return the same direction for all."""
        return np.ones((len(batch), DIM), np.float32)

    def encode(self, contents: Sequence[str]) -> Any:
        """Return unit vectors."""
        return self.forward(self.prepare(contents)) / DIM**0.5


def by_arrow(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Do all that the job's task does, but compute."""
    return encode_windows(batches, EncodePipeline(NoModel(), budget=1 << 20), contents_in)


def by_pandas(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Return the vectors as lists, the way that is usual."""
    for frame in frames:
        vectors = np.ones((len(frame), DIM), np.float32)
        yield pd.DataFrame({c.CONTENT_HASH: frame[c.CONTENT_HASH], c.EMBEDDING: list(vectors)})


def tree_cpu_seconds() -> float:
    """Return the CPU time of this process and all below it, ended ones included."""
    this = psutil.Process()
    times = [p.cpu_times() for p in (this, *this.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def transport_bars(spark: SparkSession, folder: Path) -> tuple[list[Bar], dict[str, Any]]:
    """Return CPU microseconds an item from Parquet through Python to Parquet."""
    source = str(folder / "texts.parquet")
    texts = many_texts(TRANSPORTED)
    pq.write_table(pa.table({c.CONTENT_HASH: [f"{n:064x}" for n in range(TRANSPORTED)],
                             CONTENT: texts}), source, row_group_size=10_000)  # fmt: skip
    frame = spark.read.parquet(source).repartition(PROCESSES).persist()
    frame.count()
    lists = f"{c.CONTENT_HASH} string, {c.EMBEDDING} array<float>"
    sides: dict[str, Callable[[], Any]] = {
        "mapInArrow, binary": lambda: frame.mapInArrow(by_arrow, ENCODED),
        "mapInPandas, lists": lambda: frame.mapInPandas(by_pandas, lists),
    }
    cpu = dict.fromkeys(sides, float("inf"))
    for turn in range(ROUNDS + 1):
        for side, run in sides.items():
            begin = tree_cpu_seconds()
            run().write.mode("overwrite").parquet(str(folder / "out"))
            if turn:
                cpu[side] = min(cpu[side], tree_cpu_seconds() - begin)
    arrow, pandas = cpu.values()
    micros = {side: 1e6 * seconds / TRANSPORTED for side, seconds in cpu.items()}
    return [Bar("transport against mapInPandas", arrow / pandas, "at most", 1 / 3, "x")], micros


# ---- 4: memory


def put_many(folder: Path, size: int) -> None:
    """Publish items of distinct texts over a thousand words, which the encoder keeps at once."""
    texts = [f"item {n // 1000} of {n % 1000}" for n in range(size)]
    put_items(TableStore(folder), texts, NIGHT)


def memory_bars(spark: SparkSession, folder: Path) -> tuple[list[Bar], dict[str, Any]]:
    """Return how the memory of all processes grows with the table.

    Items are written by a process of their own, whose memory is none of the job's.
    """
    encoder = EncoderConfig(kind="hash", dim=DIM)
    config = SailConfig(encoder=encoder, spark=SPARK)
    meter = StepMeter(Console())
    workers = {}
    for size in (SIZES[0], *SIZES):  # the first warms up: Java keeps what it once took
        table = folder / f"memory-{len(meter.steps)}"
        writer = multiprocessing.get_context("spawn").Process(target=put_many, args=(table, size))
        writer.start()
        writer.join()
        store = TableStore(table)
        with meter.step(f"{size} items, {len(meter.steps)}"):
            manifest = run_encode(spark, store, config, as_of=NIGHT)
        workers[size] = manifest.lineage["summary"]["peak_memory_gb"]
    small, large = (step["peak_gb"] for step in list(meter.steps.values())[1:])
    of_worker = workers[SIZES[1]] / workers[SIZES[0]]
    bars = [
        Bar("all processes' memory, table tenfold", large / small, "at most", 1.1, "x"),
        Bar("a worker's memory, table tenfold", of_worker, "at most", 1.1, "x"),
    ]
    return bars, {"steps": meter.steps, "workers_gb": workers}


def main() -> None:
    """Measure everything and hold it against the bars."""
    spark = build_session(SPARK, "benchmark")
    bars, details = [], {}
    with tempfile.TemporaryDirectory() as name:
        for group in (memory_bars, transport_bars, job_bars):
            found, details[group.__name__] = group(spark, Path(name))
            bars += found
    spark.stop()
    finish("encode_spark", bars, details)


if __name__ == "__main__":
    main()
