"""The encode job: item content to ``item_embedding``, each distinct content once.

What was encoded before by the same encoder is not encoded again, whichever item
carries the content now, and whether the run that encoded it was finished or killed. A
row that can't be encoded goes to the table ``item_embedding_quarantine`` with its
reason. Vectors are computed into folders of their own first and joined to items from
there, so that no plan runs the model twice, and no task that is tried again writes twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.devices import resolve_encoder_config
from sail_features.encoders.protocol import Encoder
from sail_features.errors import MissingTableError, QuarantineError
from sail_features.manifest import Choice, Manifest
from sail_features.progress import Watch, unwatched
from sail_features.schemas import ITEM_EMBEDDING
from sail_features.spark.content_files import CONTENT
from sail_features.spark.contents import check_fields, describe_contents, has_content
from sail_features.spark.encode_chunks import encode_in_chunks
from sail_features.spark.encode_summary import EncodeSummary, summarise
from sail_features.spark.encode_task import ENCODED
from sail_features.spark.inputs import latest_items, read_partitions, spark_path, write_partition
from sail_features.spark.unpublished import Unpublished
from sail_features.tables import StagedPartition, TableStore

WORK: Final = "_work"
QUARANTINE: Final = "item_embedding_quarantine"
RESUMED: Final = "_resumed"
UNREADABLE: Final = "_unreadable"


def run_encode(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    *,
    as_of: datetime,
    watch: Watch = unwatched,
) -> Manifest:
    """Encode the items known before ``as_of`` whose content earlier partitions lack.

    Parameters
    ----------
    watch : is told of the progress; the manifest's lineage keeps an `EncodeSummary`.

    Raises
    ------
    MissingTableError
        No items were imported.
    InputError, ConfigError
        The items lack the columns to encode, or media are named and no root is set.
    ModelError
        The encoder can't be loaded.
    QuarantineError
        More than ``encoder.max_quarantine_share`` of the items that have a content
        can't be encoded; only the quarantine table is published. What was encoded is
        kept for the next run.

    Notes
    -----
    An item whose content returns to what it once was gets a row again, so that its
    newest row is always its present content; nothing is encoded for it.
    """
    settings, why_dtype = resolve_encoder_config(config.encoder)
    job = _Job(
        spark,
        store,
        config.model_copy(update={"encoder": settings}),
        build_encoder(settings),
        as_of,
    )
    inputs = store.covering("items", as_of)
    items = read_partitions(spark, store, inputs)
    check_fields(items, settings)
    earlier, all_parts = _embedding_partitions(store, as_of)
    unpublished = Unpublished(store, job.encoder.encoder_id)
    with store.replace_partition(
        ITEM_EMBEDDING.name,
        as_of,
        since=earlier[-1].as_of if earlier else None,
        inputs=[m.as_input() for m in (*inputs, *earlier)],
        config={"encoder": settings.model_dump(mode="json"), "id": job.encoder.encoder_id},
    ) as partition:
        newest = latest_items(items, as_of)
        filled = has_content(newest, settings)
        total, has = newest.agg(f.count(f.lit(1)), f.count_if(filled)).head() or (0, 0)
        present = newest.where(filled)
        described = describe_contents(present, _newest_vectors(job, earlier), settings)
        wanted = _settle(described, partition, "wanted")
        published = _published_vectors(job, all_parts)
        vectors, summary = _encode(job, wanted, published, unpublished, partition, watch)
        rows = _join_vectors(wanted, vectors, job.encoder, partition.created).persist()
        _quarantine(job, rows, partition, total=has)
        good = rows.where(f.col(c.REASON).isNull()).drop(c.REASON, CONTENT)
        write_partition(
            good.repartition(config.spark.buckets, c.ITEM_ID).sortWithinPartitions(c.ITEM_ID),
            partition,
        )
        rows.unpersist()
        counts = {
            "items": total,
            "without_content": total - has,
            "skipped": has - wanted.count(),
            "quarantined": sum(partition.quarantined.values()),
        }
        _describe(job, partition, summary.model_copy(update=counts), why_dtype)
    unpublished.remove()
    return store.latest(ITEM_EMBEDDING.name, as_of)


@dataclass(frozen=True)
class _Job:
    """What every step of one run needs; the encoder's dtype is resolved."""

    spark: SparkSession
    store: TableStore
    config: SailConfig
    encoder: Encoder
    as_of: datetime

    def by_this_encoder(self, parts: tuple[Manifest, ...]) -> DataFrame | None:
        """Return the rows of ``item_embedding`` that this encoder made."""
        if not parts:
            return None
        rows = read_partitions(self.spark, self.store, parts)
        return rows.where(f.col(c.ENCODER_ID) == self.encoder.encoder_id)


def _embedding_partitions(
    store: TableStore, as_of: datetime
) -> tuple[tuple[Manifest, ...], tuple[Manifest, ...]]:
    """Return the partitions before ``as_of``, and those with the one being replaced."""
    try:
        parts = store.covering(ITEM_EMBEDDING.name, as_of)
    except MissingTableError:
        return (), ()
    return tuple(m for m in parts if m.as_of < as_of), parts


def _newest_vectors(job: _Job, earlier: tuple[Manifest, ...]) -> DataFrame | None:
    """Return each item's newest row of earlier partitions."""
    rows = job.by_this_encoder(earlier)
    if rows is None:
        return None
    return latest_items(rows, job.as_of, newest_by=(c.EVENT_TIMESTAMP, c.CREATED))


def _published_vectors(job: _Job, parts: tuple[Manifest, ...]) -> DataFrame:
    """Return content_hash and embedding of all that this encoder ever published."""
    rows = job.by_this_encoder(parts)
    if rows is None:
        return job.spark.createDataFrame([], ENCODED).drop(c.REASON)
    return rows.select(c.CONTENT_HASH, c.EMBEDDING)


def _settle(frame: DataFrame, partition: StagedPartition, name: str) -> DataFrame:
    """Write a data frame into the partition's working folder, and return what was written."""
    path = spark_path(partition.folder / WORK / name)
    frame.write.parquet(path)
    return frame.sparkSession.read.schema(frame.schema).parquet(path)


def _encode(
    job: _Job,
    wanted: DataFrame,
    published: DataFrame,
    unpublished: Unpublished,
    partition: StagedPartition,
    watch: Watch,
) -> tuple[DataFrame, EncodeSummary]:
    """Encode each distinct new content once; return the vectors of all wanted contents."""
    distinct = wanted.where(f.col(c.REASON).isNull()).dropDuplicates([c.CONTENT_HASH])
    kept = unpublished.read_kept(job.spark).drop(c.REASON)
    known = (
        published.withColumn(RESUMED, f.lit(False))
        .unionByName(kept.withColumn(RESUMED, f.lit(True)))
        .join(distinct.select(c.CONTENT_HASH), c.CONTENT_HASH, "left_semi")
        .dropDuplicates([c.CONTENT_HASH])
    )
    known = _settle(known, partition, "known")
    new = distinct.join(known, c.CONTENT_HASH, "left_anti").select(c.CONTENT_HASH, CONTENT)
    todo = _settle(new.sort(c.CONTENT_HASH), partition, "new")
    total = todo.count()
    began = time.monotonic()
    reports = encode_in_chunks(
        job.spark, todo, total, unpublished, job.config, job.encoder.window_rows, watch
    )
    old = {row[RESUMED]: row["count"] for row in known.groupBy(RESUMED).count().collect()}
    resumed, reused = old.get(True, 0), old.get(False, 0)
    summary = summarise(
        reports,
        time.monotonic() - began,
        distinct=total + resumed + reused,
        resumed=resumed,
        reused=reused,
    )
    found = known.select(c.CONTENT_HASH, c.EMBEDDING, f.lit(None).cast("string").alias(c.REASON))
    return found.unionByName(unpublished.read_fresh(job.spark)), summary


def _join_vectors(
    wanted: DataFrame, vectors: DataFrame, encoder: Encoder, created: datetime
) -> DataFrame:
    """Give each wanted item the vector of its content, or the reason why it has none."""
    available = f.col(c.EVENT_TIMESTAMP)
    if encoder.trained_until is not None:
        available = f.greatest(available, f.lit(encoder.trained_until))
    no_vector = f.when(f.col(c.EMBEDDING).isNull(), "no vector came back")
    unread = wanted.withColumnRenamed(c.REASON, UNREADABLE)
    return (
        unread.join(vectors, c.CONTENT_HASH, "left")
        .withColumn(c.REASON, f.coalesce(UNREADABLE, c.REASON, no_vector))
        .drop(UNREADABLE)
        .withColumn(c.AVAILABLE_AT, available)
        .withColumn(c.CREATED, f.lit(created))
        .withColumn(c.DIM, f.lit(encoder.dim))
        .withColumn(c.ENCODER_ID, f.lit(encoder.encoder_id))
    )


def _quarantine(job: _Job, rows: DataFrame, partition: StagedPartition, *, total: int) -> None:
    """Set the bad rows aside, count them by reason, and refuse too large a share.

    The share is of the ``total`` items that have a content: those quarantined before
    come again in every run, among ever fewer new ones.
    """
    bad = rows.where(f.col(c.REASON).isNotNull()).select(c.ITEM_ID, c.EVENT_TIMESTAMP, c.REASON)
    counts = {row[0]: row[1] for row in bad.groupBy(c.REASON).count().collect()}
    partition.quarantined.update(counts)
    settings = job.config.encoder
    with job.store.replace_partition(
        QUARANTINE, job.as_of, config={"encoder": settings.model_dump(mode="json")}
    ) as aside:
        write_partition(bad.coalesce(1).sortWithinPartitions(c.ITEM_ID), aside)
    share = settings.max_quarantine_share
    if sum(counts.values()) > share * total:
        raise QuarantineError.too_many("encode", sum(counts.values()), total, share, counts)


def _describe(
    job: _Job, partition: StagedPartition, summary: EncodeSummary, why_dtype: str
) -> None:
    trained, dtype = job.encoder.trained_until, job.config.encoder.dtype
    partition.lineage.update(
        encoder_id=job.encoder.encoder_id,
        dim=job.encoder.dim,
        dtype="float16",
        trained_until=trained.isoformat() if trained else None,
        summary=summary.model_dump(mode="json"),
    )
    partition.choices["dtype"] = Choice(value=f"{dtype}, stored as float16", reason=why_dtype)
    partition.choices["device"] = Choice(
        value=", ".join(summary.devices) or "none",
        reason="; ".join(summary.devices.values()) or "nothing to encode",
    )
