"""Contents that are files: which items name one, and the hash of its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f
from pyspark.sql.types import ArrayType, StringType, StructField, StructType

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.encoders.media import MediaReader, RefusedError
from sail_features.encoders.vision import MAX_FRAMES

CONTENT: Final = "content"
READERS: Final = 4
"""Files that a task reads at a time: they may lie on a network."""
NOT_UNICODE: Final = "{} is not valid Unicode"
"""Parquet's strings may hold any bytes, which Python can't read."""


def names_file(items: DataFrame, column: str) -> Column:
    """Tell which items name a file in a column, or hold one."""
    content = f.col(column)
    kind = items.schema[column].dataType
    if isinstance(kind, ArrayType):
        return f.coalesce(f.size(content), f.lit(0)) > 0
    if isinstance(kind, StringType):
        return f.coalesce(f.trim(content), f.lit("")) != ""
    return content.isNotNull()


def describe_files(items: DataFrame, config: EncoderConfig) -> DataFrame:
    """Return `contents.describe_contents` of items whose content is a file, or its frames."""
    named = items.select(
        c.ITEM_ID, c.EVENT_TIMESTAMP, f.col(config.media_column or "").alias(CONTENT)
    )
    added = [StructField(c.CONTENT_HASH, StringType()), StructField(c.REASON, StringType())]
    reader = MediaReader(config.media_root, config.max_media_bytes)

    def hash_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield hash_media(batch, reader)

    return named.mapInArrow(hash_batches, StructType([*named.schema.fields, *added]))


def hash_media(batch: pa.RecordBatch, reader: MediaReader) -> pa.RecordBatch:
    """Add content_hash and reason to a batch with a content column of paths or bytes."""
    with ThreadPoolExecutor(READERS) as pool:
        contents = batch.column(CONTENT)
        found = list(pool.map(lambda content: hash_one(content, reader), contents))
    hashes = [hashed for hashed, _ in found]
    reasons = [reason for _, reason in found]
    return batch.append_column(c.CONTENT_HASH, pa.array(hashes, pa.string())).append_column(
        c.REASON, pa.array(reasons, pa.string())
    )


def hash_one(content: pa.Scalar, reader: MediaReader) -> tuple[str | None, str | None]:
    """Return the hash of an item's bytes, or why it has none; of frames, of their hashes."""
    try:
        return reader.hash(content.as_py(), MAX_FRAMES), None
    except RefusedError as refused:
        return None, str(refused)
    except UnicodeDecodeError:
        return None, NOT_UNICODE.format("path")
