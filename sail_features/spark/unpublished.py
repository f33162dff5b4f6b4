"""Vectors that are encoded and not yet published: what a killed run leaves to the next.

The encode job works in chunks of some minutes. Each is written by Spark into a folder of
its own, whose commit marker is the last file, so that a chunk is there whole or not at
all. They are removed once the partition that they went into is published.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.manifest import sha256_of
from sail_features.spark.encode_task import ENCODED
from sail_features.spark.inputs import spark_path
from sail_features.tables import TableStore

FOLDER: Final = "_unpublished"
CHUNK: Final = "chunk-"
COMMITTED: Final = "_SUCCESS"


class Unpublished:
    """The chunks of one encoder.

    Parameters
    ----------
    encoder_id : chunks of other encoders are neither read nor removed.
    """

    def __init__(self, store: TableStore, encoder_id: str) -> None:
        self.folder = store.root / FOLDER / sha256_of(encoder_id)[:16]
        for folder in self.folder.glob(f"{CHUNK}*"):
            if not (folder / COMMITTED).exists():
                shutil.rmtree(folder)
        self._kept = sorted(self.folder.glob(f"{CHUNK}*"))
        self._fresh: list[Path] = []

    def next_chunk(self) -> Path:
        """Return the folder to write the next chunk into."""
        self.folder.mkdir(parents=True, exist_ok=True)
        last = max((*self._kept, *self._fresh), default=None)
        number = 0 if last is None else int(last.name.removeprefix(CHUNK)) + 1
        self._fresh.append(self.folder / f"{CHUNK}{number:06d}")
        return self._fresh[-1]

    def read_kept(self, spark: SparkSession) -> DataFrame:
        """Return what earlier runs encoded; what they could not encode is tried again."""
        return _read(spark, self._kept).where(f.col(c.REASON).isNull())

    def read_fresh(self, spark: SparkSession) -> DataFrame:
        """Return what this run encoded, and the reasons of what it could not."""
        return _read(spark, self._fresh)

    def remove(self) -> None:
        """Remove all chunks: their vectors are published."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(spark: SparkSession, chunks: list[Path]) -> DataFrame:
    if not chunks:
        return spark.createDataFrame([], ENCODED)
    return spark.read.schema(ENCODED).parquet(*map(spark_path, chunks))
