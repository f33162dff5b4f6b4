"""The item vectors and categories of the match job, as its tasks find them.

One memory-mapped file of the whole catalogue, which the workers of a machine share; or,
with ``spark.item_vectors: bucketed``, a file a bucket (`sail_features.spark.bucket_items`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.derived import DERIVED
from sail_features.embeddings import EmbeddingTable, load_embedding_table
from sail_features.item_categories import (
    derive_item_categories,
    files_with_categories,
    open_item_categories,
)
from sail_features.item_vectors import derive_item_vectors, open_item_vectors
from sail_features.manifest import Manifest, sha256_of
from sail_features.placebo import Placebo
from sail_features.spark.bucket_items import (
    CATEGORIES,
    WriteItems,
    folder_of_bucket,
    named_items,
    newest_vectors,
    write_bucket_items,
)
from sail_features.spark.inputs import read_partitions, spark_path
from sail_features.tables import TableStore


@dataclass(frozen=True)
class ItemFiles:
    """Where tasks read items.

    Parameters
    ----------
    vectors : a folder of `EmbeddingTable.save`, or with one such folder a bucket.
    categories : of the one folder's items.
    has_categories : whether any item has one.
    dim : how many numbers of each vector there are.
    """

    vectors: Path
    categories: Path | None
    has_categories: bool
    encoder_id: str
    dim: int
    by_bucket: bool = False

    def discard(self) -> None:
        """Remove the files of the buckets, which serve one run; the shared file stays."""
        if self.by_bucket:
            shutil.rmtree(self.vectors, ignore_errors=True)

    def open(self, bucket: int) -> tuple[EmbeddingTable, NDArray[np.int64] | None]:
        """Memory-map what the task of a bucket needs."""
        if not self.by_bucket:
            categories = None if self.categories is None else open_item_categories(self.categories)
            return open_item_vectors(self.vectors), categories
        folder = folder_of_bucket(self.vectors, bucket)
        if not folder.is_dir():
            nothing = np.empty(0, np.int64)
            vectors = np.empty((0, self.dim), np.float16)
            table = EmbeddingTable(nothing, vectors, self.encoder_id, nothing)
            return table, nothing if self.has_categories else None
        return load_embedding_table(folder), (
            open_item_categories(folder / CATEGORIES) if self.has_categories else None
        )


def share_items(
    store: TableStore,
    config: SailConfig,
    encoder_id: str,
    as_of: datetime,
    placebo: Placebo | None,
) -> ItemFiles:
    """Return the one file of all items, made where it isn't there yet."""
    vectors = derive_item_vectors(store, encoder_id, as_of, placebo=placebo, dim=config.match.dim)
    table = open_item_vectors(vectors)
    categories = derive_item_categories(store, vectors, table, as_of)
    return ItemFiles(vectors, categories, categories is not None, encoder_id, table.dim)


def bucket_items(
    spark: SparkSession,
    store: TableStore,
    config: SailConfig,
    encoder_id: str,
    parts: Mapping[str, Sequence[Manifest]],
    named: Sequence[DataFrame],
    placebo: Placebo | None,
) -> ItemFiles:
    """Join the vectors to the buckets whose rows and events name them.

    Parameters
    ----------
    parts : partitions of ``items`` and ``item_embedding``.
    named : rows and events with a user and an item each.
    """
    embeddings = read_partitions(spark, store, parts["item_embedding"])
    vectors = newest_vectors(spark, embeddings, encoder_id, placebo).cache()
    try:
        items = _categorised(spark, store, parts["items"], vectors)
        buckets, dim = config.spark.buckets, config.match.dim
        made_of = [[m.fingerprint for m in part] for part in parts.values()]
        key = sha256_of([made_of, encoder_id, placebo, dim, buckets])[:16]
        folder = store.root / DERIVED / f"bucket_items-{key}"
        task = WriteItems(folder, encoder_id, dim)
        stored = vectors.select(c.DIM).first()
        write_bucket_items(named_items(named, buckets), vectors, items, task)
    finally:
        vectors.unpersist()
    width = dim or stored[c.DIM]
    return ItemFiles(folder, None, items is not None, encoder_id, width, by_bucket=True)


def _categorised(
    spark: SparkSession, store: TableStore, parts: Sequence[Manifest], vectors: DataFrame
) -> DataFrame | None:
    """Return the rows with a category; None where no item with a vector has one."""
    files = files_with_categories(store, parts)
    if not files:
        return None
    rows = spark.read.parquet(*(spark_path(Path(file)) for file in files))
    named = rows.where(f.col(c.CATEGORY).isNotNull())
    return None if named.join(vectors, c.ITEM_ID, "left_semi").isEmpty() else named
