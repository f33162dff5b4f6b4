"""What one task of the encode job does: Arrow batches of contents in, vectors out.

A task computes on the device that Spark gave it (`gpu`), on its CPU cores where Spark
gave none. Its worker keeps the loaded model, and the batch size that it found, for the
tasks after it. A lost device is raised: Spark then ends this worker, and a new process
takes the task.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import pyarrow as pa
from pyspark import TaskContext
from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.sql.types import BinaryType, StringType, StructField, StructType

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.embeddings import pack_column
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.devices import Placement, place
from sail_features.encoders.media import HashedFiles
from sail_features.encoders.pipeline import EncodePipeline, Statistics, iter_windows
from sail_features.encoders.protocol import Content
from sail_features.encoders.work import matmul_peak
from sail_features.spark.content_files import CONTENT
from sail_features.spark.content_parts import parts_in
from sail_features.spark.gpu import device_of_task

ENCODED: Final = StructType(
    [
        StructField(c.CONTENT_HASH, StringType()),
        StructField(c.EMBEDDING, BinaryType()),
        StructField(c.REASON, StringType()),
    ]
)


@dataclass(frozen=True)
class TaskReport:
    """What one task did, and where.

    ``peak_flops``: matrix-product peak of its device, in FLOP/s; 0 where not measured.
    ``memory_bytes``: the most its worker ever held; ``device_memory_bytes`` on a GPU.
    """

    device: str
    reason: str
    statistics: Statistics
    peak_flops: float
    memory_bytes: int
    device_memory_bytes: int


class TaskReports(AccumulatorParam):  # type: ignore[misc]  # untyped here
    """A Spark accumulator of reports, one a task that ended well."""

    def zero(self, value: list[TaskReport]) -> list[TaskReport]:
        """Return no report."""
        return []

    def addInPlace(  # noqa: N802  # Spark's name
        self, value1: list[TaskReport], value2: list[TaskReport]
    ) -> list[TaskReport]:
        """Return both lists as one."""
        return value1 + value2


def encode_batches(
    batches: Iterator[pa.RecordBatch],
    config: EncoderConfig,
    reports: Accumulator[list[TaskReport]],
) -> Iterator[pa.RecordBatch]:
    """Encode the batches of one task on its device, and report what was done."""
    device, reason = device_of_task()
    worker = _worker(config, device, _cores_of_task())
    yield from encode_windows(batches, worker.pipeline, _reader_of(config))
    reports.add([worker.report(device, reason)])


def encode_windows(
    batches: Iterator[pa.RecordBatch],
    pipeline: EncodePipeline,
    contents_of: Callable[[list[pa.RecordBatch]], list[Content]],
) -> Iterator[pa.RecordBatch]:
    """Encode Arrow batches: content_hash and content in, `ENCODED` out.

    Batches are taken in windows of several, within which the longest content goes
    first; a row that can't be encoded gets a reason in place of a vector.
    """
    windows = iter_windows(batches, pipeline.encoder.window_rows)
    for window, encoded in pipeline.stream(windows, contents_of):
        hashes = pa.chunked_array([batch.column(c.CONTENT_HASH) for batch in window])
        yield pa.RecordBatch.from_pydict(
            {
                c.CONTENT_HASH: hashes.combine_chunks(),
                c.EMBEDDING: pack_column(encoded.vectors),
                c.REASON: pa.array(encoded.reasons, pa.string()),
            }
        )


class _Worker:
    """A Python worker's pipeline on one device, and how fast that device is."""

    def __init__(self, config: EncoderConfig, placement: Placement) -> None:
        self.placement = placement
        self.pipeline = EncodePipeline(
            build_encoder(config, placement), budget=config.tokens_per_batch
        )
        self._peak_flops = 0.0

    def report(self, device: str, reason: str) -> TaskReport:
        """Return what was done since the last report."""
        statistics = self.pipeline.take_statistics()
        if statistics.flops and not self._peak_flops:
            self._peak_flops = matmul_peak(self.placement)
        return TaskReport(
            device,
            reason,
            statistics,
            self._peak_flops,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            _device_memory(self.placement.device),
        )


@lru_cache(maxsize=2)
def _worker(config: EncoderConfig, device: str, threads: int) -> _Worker:
    """Build the pipeline once a worker and device; weights are loaded on first use."""
    return _Worker(
        config, place(config, device=None if device == "cpu" else device, threads=threads)
    )


def _cores_of_task() -> int:
    context = TaskContext.get()
    return 1 if context is None else int(context.cpus())


def contents_in(window: list[pa.RecordBatch]) -> list[Content]:
    """Return the contents of a window's batches."""
    return [content for batch in window for content in batch.column(CONTENT).to_pylist()]


def _reader_of(config: EncoderConfig) -> Callable[[list[pa.RecordBatch]], list[Content]]:
    """Return what turns a window's batches into contents of this encoder."""
    if config.kind == "sail":
        return parts_in
    return contents_in if config.media_column is None else _files_in


def _files_in(window: list[pa.RecordBatch]) -> list[Content]:
    hashes = [hashed for batch in window for hashed in batch.column(c.CONTENT_HASH).to_pylist()]
    return [HashedFiles(*one) for one in zip(contents_in(window), hashes, strict=True)]


def _device_memory(device: str) -> int:
    torch = sys.modules.get("torch")
    if torch is None or device == "cpu":
        return 0
    return int(torch.cuda.max_memory_allocated(device))
