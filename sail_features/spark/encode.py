"""The encode job: item content to ``item_embedding``, each distinct content once.

What was encoded before by the same encoder is not encoded again, whichever item
carries the content now; a row that can't be encoded goes to the table
``item_embedding_quarantine`` with its reason. Vectors are computed into a working
folder first and joined to items from there, so that no plan runs the model twice.

A task computes on the device that Spark gave it (`gpu`), on its CPU cores where Spark
gave none. Its worker keeps the loaded model, and the batch size that it found, for the
tasks after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Final

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import BinaryType, StringType, StructField, StructType

from sail_features import columns as c
from sail_features.config import EncoderConfig, SailConfig
from sail_features.embeddings import pack_column
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.devices import place, resolve_encoder_config
from sail_features.encoders.pipeline import EncodePipeline, iter_windows
from sail_features.encoders.protocol import Encoder
from sail_features.errors import InputError, MissingTableError, QuarantineError
from sail_features.manifest import Choice, Manifest
from sail_features.schemas import ITEM_EMBEDDING
from sail_features.spark.gpu import device_of_task, encode_profile
from sail_features.spark.inputs import latest_items, read_partitions, spark_path, write_partition
from sail_features.tables import StagedPartition, TableStore

CONTENT: Final = "content"
DEVICE: Final = "device"
DEVICE_REASON: Final = "device_reason"
WORK: Final = "_work"
QUARANTINE: Final = "item_embedding_quarantine"
ENCODED: Final = StructType(
    [
        StructField(c.CONTENT_HASH, StringType()),
        StructField(c.EMBEDDING, BinaryType()),
        StructField(c.REASON, StringType()),
        StructField(DEVICE, StringType()),
        StructField(DEVICE_REASON, StringType()),
    ]
)


def run_encode(
    spark: SparkSession, store: TableStore, config: SailConfig, *, as_of: datetime
) -> Manifest:
    """Encode the items known before ``as_of`` whose content earlier partitions lack.

    Raises
    ------
    MissingTableError
        No items were imported.
    ModelError
        The encoder can't be loaded.
    QuarantineError
        More than ``encoder.max_quarantine_share`` of the items known before ``as_of``
        can't be encoded; only the quarantine table is published.

    Notes
    -----
    An item whose content returns to what it once was gets a row again, so that its
    newest row is always its present content; nothing is encoded for it.
    """
    settings, why_dtype = resolve_encoder_config(config.encoder)
    config = config.model_copy(update={"encoder": settings})
    encoder = build_encoder(settings)
    inputs = store.covering("items", as_of)
    items = read_partitions(spark, store, inputs)
    _check_text_fields(items, config.encoder)
    earlier, all_parts = _embedding_partitions(store, as_of)
    present = _with_content(latest_items(items, as_of), config.encoder)
    wanted = _without_encoded(present, spark, store, earlier, encoder.encoder_id, as_of)
    with store.replace_partition(
        ITEM_EMBEDDING.name,
        as_of,
        since=earlier[-1].as_of if earlier else None,
        inputs=[m.as_input() for m in (*inputs, *earlier)],
        config={"encoder": config.encoder.model_dump(mode="json"), "id": encoder.encoder_id},
    ) as partition:
        known = _known_vectors(spark, store, all_parts, encoder.encoder_id)
        encoded = _encode_contents(spark, wanted, known, partition, config)
        rows = _join_vectors(wanted, encoded, encoder, partition.created).persist()
        _quarantine(store, rows, partition, as_of, config, total=present.count())
        good = rows.where(f.col(c.REASON).isNull()).drop(c.REASON, CONTENT)
        write_partition(
            good.repartition(config.spark.buckets, c.ITEM_ID).sortWithinPartitions(c.ITEM_ID),
            partition,
        )
        rows.unpersist()
        _describe(partition, encoder, settings.dtype, why_dtype)
    return store.latest(ITEM_EMBEDDING.name, as_of)


def _check_text_fields(items: DataFrame, config: EncoderConfig) -> None:
    for name in config.text_fields:
        if name not in items.columns:
            raise InputError.missing_column("items (encoder.text_fields)", name, items.columns)


def _embedding_partitions(
    store: TableStore, as_of: datetime
) -> tuple[tuple[Manifest, ...], tuple[Manifest, ...]]:
    """Return the partitions before ``as_of``, and those with the one being replaced."""
    try:
        parts = store.covering(ITEM_EMBEDDING.name, as_of)
    except MissingTableError:
        return (), ()
    return tuple(m for m in parts if m.as_of < as_of), parts


def _with_content(items: DataFrame, config: EncoderConfig) -> DataFrame:
    """Add the text to encode and the hash that identifies it."""
    fields = [f.coalesce(f.col(name).cast("string"), f.lit("")) for name in config.text_fields]
    text = f.trim(f.concat_ws(" ", *fields))
    return items.select(
        c.ITEM_ID,
        c.EVENT_TIMESTAMP,
        text.alias(CONTENT),
        f.sha2(text, 256).alias(c.CONTENT_HASH),
    )


def _without_encoded(
    present: DataFrame,
    spark: SparkSession,
    store: TableStore,
    earlier: tuple[Manifest, ...],
    encoder_id: str,
    as_of: datetime,
) -> DataFrame:
    """Leave out the items whose newest vector is already of their present content."""
    if not earlier:
        return present
    encoded = read_partitions(spark, store, earlier).where(f.col(c.ENCODER_ID) == encoder_id)
    newest = latest_items(encoded, as_of, newest_by=(c.EVENT_TIMESTAMP, c.CREATED))
    return present.join(newest, [c.ITEM_ID, c.CONTENT_HASH], "left_anti")


def _known_vectors(
    spark: SparkSession, store: TableStore, parts: tuple[Manifest, ...], encoder_id: str
) -> DataFrame | None:
    if not parts:
        return None
    return (
        read_partitions(spark, store, parts)
        .where(f.col(c.ENCODER_ID) == encoder_id)
        .select(c.CONTENT_HASH, c.EMBEDDING, f.lit(None).cast("string").alias(c.REASON))
        .dropDuplicates([c.CONTENT_HASH])
    )


def _encode_contents(
    spark: SparkSession,
    wanted: DataFrame,
    known: DataFrame | None,
    partition: StagedPartition,
    config: SailConfig,
) -> DataFrame:
    """Encode each distinct new content once; return the vectors of all wanted contents."""
    contents = wanted.select(c.CONTENT_HASH, CONTENT).dropDuplicates([c.CONTENT_HASH])
    if known is not None:
        contents = contents.join(known, c.CONTENT_HASH, "left_anti")
    tasks = 2 * spark.sparkContext.defaultParallelism
    work = spark_path(partition.folder / WORK)
    settings = config.encoder

    def encode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return encode_batches(batches, settings)

    profile = encode_profile(spark, config.spark)
    encoding = contents.repartition(tasks, c.CONTENT_HASH).mapInArrow(
        encode, ENCODED, profile=profile
    )
    encoding.write.parquet(work)
    written = spark.read.parquet(work)
    devices = written.groupBy(DEVICE, DEVICE_REASON).count().orderBy(DEVICE).collect()
    partition.choices["device"] = Choice(
        value=", ".join(row[DEVICE] for row in devices) or "none",
        reason="; ".join(row[DEVICE_REASON] for row in devices) or "nothing to encode",
    )
    partition.lineage["contents_encoded"] = written.where(f.col(c.REASON).isNull()).count()
    encoded = written.drop(DEVICE, DEVICE_REASON)
    return encoded if known is None else encoded.unionByName(known)


def encode_batches(
    batches: Iterator[pa.RecordBatch], config: EncoderConfig
) -> Iterator[pa.RecordBatch]:
    """Encode the Arrow batches of one task: content_hash and content in, `ENCODED` out.

    Batches are taken in windows of several, within which the longest content goes
    first; a row that can't be encoded gets a reason in place of a vector.
    """
    device, reason = device_of_task()
    pipeline = _pipeline_of_worker(config, device, _cores_of_task())
    windows = iter_windows(batches, pipeline.encoder.window_rows)
    for window, encoded in pipeline.stream(windows, _contents_of):
        hashes = pa.chunked_array([batch.column(c.CONTENT_HASH) for batch in window])
        rows = len(hashes)
        yield pa.RecordBatch.from_pydict(
            {
                c.CONTENT_HASH: hashes.combine_chunks(),
                c.EMBEDDING: pack_column(encoded.vectors),
                c.REASON: pa.array(encoded.reasons, pa.string()),
                DEVICE: pa.repeat(device, rows),
                DEVICE_REASON: pa.repeat(reason, rows),
            }
        )


@lru_cache(maxsize=2)
def _pipeline_of_worker(config: EncoderConfig, device: str, threads: int) -> EncodePipeline:
    """Build the pipeline once a worker and device; weights are loaded on first use."""
    placement = place(config, device=None if device == "cpu" else device, threads=threads)
    return EncodePipeline(build_encoder(config, placement), budget=config.tokens_per_batch)


def _cores_of_task() -> int:
    context = TaskContext.get()
    return 1 if context is None else int(context.cpus())


def _contents_of(window: list[pa.RecordBatch]) -> list[str]:
    return [text for batch in window for text in batch.column(CONTENT).to_pylist()]


def _join_vectors(
    wanted: DataFrame, encoded: DataFrame, encoder: Encoder, created: datetime
) -> DataFrame:
    available = f.col(c.EVENT_TIMESTAMP)
    if encoder.trained_until is not None:
        available = f.greatest(available, f.lit(encoder.trained_until))
    return (
        wanted.join(encoded, c.CONTENT_HASH)
        .withColumn(c.AVAILABLE_AT, available)
        .withColumn(c.CREATED, f.lit(created))
        .withColumn(c.DIM, f.lit(encoder.dim))
        .withColumn(c.ENCODER_ID, f.lit(encoder.encoder_id))
    )


def _quarantine(
    store: TableStore,
    rows: DataFrame,
    partition: StagedPartition,
    as_of: datetime,
    config: SailConfig,
    *,
    total: int,
) -> None:
    """Set the bad rows aside, count them by reason, and refuse too large a share.

    The share is of all ``total`` items, since those quarantined before come again in
    every run, among ever fewer new ones.
    """
    bad = rows.where(f.col(c.REASON).isNotNull()).select(c.ITEM_ID, c.EVENT_TIMESTAMP, c.REASON)
    counts = {row[0]: row[1] for row in bad.groupBy(c.REASON).count().collect()}
    partition.quarantined.update(counts)
    with store.replace_partition(
        QUARANTINE, as_of, config={"encoder": config.encoder.model_dump(mode="json")}
    ) as aside:
        write_partition(bad.coalesce(1).sortWithinPartitions(c.ITEM_ID), aside)
    share = config.encoder.max_quarantine_share
    if sum(counts.values()) > share * total:
        raise QuarantineError.too_many("encode", sum(counts.values()), total, share, counts)


def _describe(partition: StagedPartition, encoder: Encoder, dtype: str, why_dtype: str) -> None:
    trained = encoder.trained_until
    partition.lineage.update(
        encoder_id=encoder.encoder_id,
        dim=encoder.dim,
        dtype="float16",
        trained_until=trained.isoformat() if trained else None,
    )
    partition.choices["dtype"] = Choice(value=f"{dtype}, stored as float16", reason=why_dtype)
