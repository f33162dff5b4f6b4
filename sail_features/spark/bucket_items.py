"""Each bucket's own file of the item vectors that its users' rows and events name.

For catalogues that the page cache of a machine doesn't hold: there, rows of a random item
in the one memory-mapped file would be read from disk each time. Here Spark joins vectors
to buckets, so that a task maps the vectors of its own bucket alone. Costs a shuffle of
2 bytes a number for each distinct (bucket, item), and the files are used once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Final, cast

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.embeddings import pack_column
from sail_features.errors import InputError
from sail_features.item_categories import categories_of
from sail_features.item_vectors import build_embedding_table
from sail_features.placebo import Placebo, draw_vectors
from sail_features.spark.newest import newest_by_key

BUCKET: Final = "bucket"
CATEGORIES: Final = "category.npy"
WRITTEN: Final = "bucket int, attempt string"


def newest_vectors(
    spark: SparkSession, embeddings: DataFrame, encoder_id: str, placebo: Placebo | None
) -> DataFrame:
    """Return each item's newest row of ``item_embedding`` by one encoder.

    Parameters
    ----------
    placebo : give items vectors that aren't theirs, the same as `Placebo.apply` does; to
        permute them, only the ids pass through this process.

    Raises
    ------
    InputError
        Nothing was encoded by this encoder.
    """
    names = [c.ITEM_ID, c.EVENT_TIMESTAMP, c.ENCODER_ID, c.DIM, c.AVAILABLE_AT, c.EMBEDDING]
    rows = newest_by_key(
        embeddings.where(f.col(c.ENCODER_ID) == f.lit(encoder_id)),
        [f.col(name) for name in names],
        [f.col(c.ITEM_ID)],
        [f.col(c.EVENT_TIMESTAMP)],
    )
    if rows.isEmpty():
        raise InputError.not_encoded(encoder_id)
    if placebo is None:
        return rows
    if placebo.kind == "random":
        return rows.mapInArrow(DrawVectors(placebo.seed), rows.schema)
    ids = rows.select(c.ITEM_ID).sort(c.ITEM_ID).toArrow()[c.ITEM_ID].combine_chunks()
    order = np.random.default_rng(placebo.seed).permutation(len(ids))
    dealt = spark.createDataFrame(pa.table({c.ITEM_ID: ids, "source": ids.take(pa.array(order))}))
    vectors = rows.select(f.col(c.ITEM_ID).alias("source"), c.EMBEDDING)
    return rows.drop(c.EMBEDDING).join(dealt, c.ITEM_ID).join(vectors, "source").drop("source")


@dataclass(frozen=True)
class DrawVectors:
    """Puts random vectors in the place of the items' own."""

    seed: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Replace the vectors of one batch after the other."""
        for batch in batches:
            if batch.num_rows:
                dim = batch.column(c.DIM)[0].as_py()
                drawn = draw_vectors(batch.column(c.ITEM_ID).to_pylist(), dim, self.seed)
                place = batch.schema.get_field_index(c.EMBEDDING)
                yield batch.set_column(place, c.EMBEDDING, pack_column(drawn))


def named_items(parts: Sequence[DataFrame], buckets: int) -> DataFrame:
    """Return the distinct (bucket, item) of rows and events.

    The bucket is the one that ``repartition(buckets, user_id)`` gives, which the stream
    of `sail_features.spark.match_stream` is cut by.
    """
    bucket = f.pmod(f.hash(c.USER_ID), f.lit(buckets)).alias(BUCKET)
    named = [part.select(bucket, c.ITEM_ID) for part in parts]
    return reduce(DataFrame.unionByName, named).distinct()


def write_bucket_items(
    named: DataFrame, vectors: DataFrame, items: DataFrame | None, task: WriteItems
) -> None:
    """Write the vectors, and the first known categories, of each bucket's items.

    Parameters
    ----------
    named, vectors : of `named_items` and `newest_vectors`.
    items : rows of ``items``, all with a category; None where the catalogue has none.
    task : its folder is emptied first; a bucket that names no known item gets no file.
    """
    shutil.rmtree(task.folder, ignore_errors=True)
    task.folder.mkdir(parents=True)
    rows = named.join(vectors, c.ITEM_ID)
    if items is not None:
        first = f.min(f.struct(c.EVENT_TIMESTAMP, c.CATEGORY))[c.CATEGORY].alias(c.CATEGORY)
        rows = rows.join(items.groupBy(c.ITEM_ID).agg(first), c.ITEM_ID, "left")
    apart = rows.repartition(BUCKET).sortWithinPartitions(BUCKET)
    for bucket, attempt in apart.mapInArrow(task, WRITTEN).collect():
        (task.folder / attempt).rename(folder_of_bucket(task.folder, bucket))
    for left in task.folder.glob("*-*"):  # by attempts that Spark gave up
        shutil.rmtree(left)


@dataclass(frozen=True)
class WriteItems:
    """Writes the items of each bucket that it meets; tells under which name.

    Parameters
    ----------
    folder : on a file system that all machines mount.
    dim : keep only so many numbers of each vector; None keeps all.
    """

    folder: Path
    encoder_id: str
    dim: int | None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read rows sorted by bucket, one bucket in memory at a time."""
        attempt = cast(TaskContext, TaskContext.get()).taskAttemptId()
        for bucket, rows in _iter_buckets(batches):
            name = f"{bucket:05d}-{attempt}"
            self._write(rows, self.folder / name)
            told = {BUCKET: pa.array([bucket], pa.int32()), "attempt": pa.array([name])}
            yield pa.RecordBatch.from_pydict(told)

    def _write(self, rows: pa.Table, folder: Path) -> None:
        table = build_embedding_table(rows, self.encoder_id)
        (table if self.dim is None else table.prefix(self.dim)).save(folder)
        if c.CATEGORY in rows.column_names:
            np.save(folder / CATEGORIES, categories_of(rows, table), allow_pickle=False)


def _iter_buckets(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
    stretches = chain.from_iterable(map(_stretches, batches))
    for bucket, rows in groupby(stretches, lambda stretch: stretch.column(BUCKET)[0].as_py()):
        yield bucket, pa.Table.from_batches(list(rows))


def _stretches(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """Cut a batch where the bucket changes."""
    if not batch.num_rows:
        return []
    changes = np.flatnonzero(np.diff(batch.column(BUCKET).to_numpy())) + 1
    cuts = [0, *changes.tolist(), batch.num_rows]
    return [batch.slice(start, stop - start) for start, stop in pairwise(cuts)]


def folder_of_bucket(folder: Path, bucket: int) -> Path:
    """Return where one bucket's vectors lie, if it has any."""
    return folder / f"{bucket:05d}"
