"""The encode job: item content to ``item_embedding``, each distinct content once.

What was encoded before by the same encoder is not encoded again, whichever item
carries the content now; a row that can't be encoded goes to the table
``item_embedding_quarantine`` with its reason. Vectors are computed into a working
folder first and joined to items from there, so that no plan runs the model twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import BinaryType, StringType, StructField, StructType

from sail_features import columns as c
from sail_features.config import EncoderConfig, SailConfig
from sail_features.embeddings import pack_vectors
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.protocol import TextEncoder
from sail_features.errors import InputError, MissingTableError, QuarantineError
from sail_features.manifest import Choice, Manifest
from sail_features.schemas import ITEM_EMBEDDING
from sail_features.spark.inputs import latest_items, read_partitions, spark_path, write_partition
from sail_features.tables import StagedPartition, TableStore

CONTENT: Final = "content"
MAX_CHARACTERS: Final = 1_000_000
WORK: Final = "_work"
QUARANTINE: Final = "item_embedding_quarantine"
ENCODED: Final = StructType(
    [
        StructField(c.CONTENT_HASH, StringType()),
        StructField(c.EMBEDDING, BinaryType()),
        StructField(c.REASON, StringType()),
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
    encoder = build_encoder(config.encoder)
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
        _describe(partition, encoder)
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
    encoder_config = config.encoder

    def encode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = _encoder_of_worker(encoder_config)
        for batch in batches:
            yield encode_batch(batch, encoder)

    contents.repartition(tasks, c.CONTENT_HASH).mapInArrow(encode, ENCODED).write.parquet(work)
    encoded = spark.read.parquet(work)
    partition.lineage["contents_encoded"] = encoded.where(f.col(c.REASON).isNull()).count()
    return encoded if known is None else encoded.unionByName(known)


@lru_cache(maxsize=1)
def _encoder_of_worker(config: EncoderConfig) -> TextEncoder:
    """Build the encoder once a Python worker; its weights are loaded on first use."""
    return build_encoder(config)


def encode_batch(batch: pa.RecordBatch, encoder: TextEncoder) -> pa.RecordBatch:
    """Encode one Arrow batch of contents; a row that can't be gets a reason instead."""
    texts = batch.column(CONTENT).to_pylist()
    reasons = [_why_not(text) for text in texts]
    good = [row for row, reason in enumerate(reasons) if reason is None]
    packed: list[bytes | None] = [None] * len(texts)
    if good:
        vectors = encoder.encode([texts[row] for row in good])
        finite: list[bool] = np.isfinite(vectors).all(axis=1).tolist()  # type: ignore[assignment]
        for place, (row, vector) in enumerate(zip(good, pack_vectors(vectors), strict=True)):
            packed[row] = vector if finite[place] else None
            reasons[row] = None if finite[place] else "vector is not finite"
    return pa.RecordBatch.from_pydict(
        {
            c.CONTENT_HASH: batch.column(c.CONTENT_HASH),
            c.EMBEDDING: pa.array(packed, pa.binary()),
            c.REASON: pa.array(reasons, pa.string()),
        }
    )


def _why_not(text: str) -> str | None:
    if not text.strip():
        return "no text"
    if len(text) > MAX_CHARACTERS:
        return f"text longer than {MAX_CHARACTERS} characters"
    return None


def _join_vectors(
    wanted: DataFrame, encoded: DataFrame, encoder: TextEncoder, created: datetime
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


def _describe(partition: StagedPartition, encoder: TextEncoder) -> None:
    trained = encoder.trained_until
    partition.lineage.update(
        encoder_id=encoder.encoder_id,
        dim=encoder.dim,
        dtype="float16",
        trained_until=trained.isoformat() if trained else None,
    )
    partition.choices["device"] = Choice(value="cpu", reason="this job asks Spark for no GPU")
    partition.choices["dtype"] = Choice(
        value="float32 arithmetic, float16 storage", reason="exact on any CPU, half the bytes"
    )
