"""What is to be encoded: each new item's content, and the hash that it is known by.

A text is hashed by Spark. A file is read once by its item's first run and known by the
hash of its bytes, so that copies and renamed files are encoded once; the encode task
checks it when it decodes. A file replaced in place after its item was encoded isn't
noticed: what changes gets a new row of items.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f
from pyspark.sql.types import ArrayType, StringType, StructField, StructType

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.encoders.media import MediaReader, RefusedError
from sail_features.encoders.vision import MAX_FRAMES
from sail_features.errors import ConfigError, InputError

CONTENT: Final = "content"
READERS: Final = 4
"""Files that a task reads at a time: they may lie on a network."""
NOT_UNICODE: Final = "{} is not valid Unicode"
"""Parquet's strings may hold any bytes, which Python can't read."""


def check_fields(items: DataFrame, config: EncoderConfig) -> None:
    """Refuse items that lack the columns to encode.

    Raises
    ------
    InputError
        A column is missing.
    ConfigError
        The items name files, and no folder is given that they may lie in.
    """
    media = config.media_column
    wanted = config.text_fields if media is None else (media,)
    where = "items (encoder.text_fields)" if media is None else "items (encoder.media_field)"
    for name in wanted:
        if name not in items.columns:
            raise InputError.missing_column(where, name, items.columns)
    if media is not None and "string" in items.schema[media].dataType.simpleString():
        _check_media_root(config.media_root, media)


def _check_media_root(root: Path | None, column: str) -> None:
    if root is None or not root.is_dir():
        problem = "is not set" if root is None else f"{root} is no folder"
        raise ConfigError.say(
            "encoder.media_root",
            f"{problem}, but items name files in {column!r}",
            hint="give the folder that holds them all, at the same path on every executor",
        )


def has_content(items: DataFrame, config: EncoderConfig) -> Column:
    """Tell which items name a file, where files are encoded; all have a text, if a blank one."""
    if config.media_column is None:
        return f.lit(True)
    content = f.col(config.media_column)
    kind = items.schema[config.media_column].dataType
    if isinstance(kind, ArrayType):
        return f.coalesce(f.size(content), f.lit(0)) > 0
    if isinstance(kind, StringType):
        return f.coalesce(f.trim(content), f.lit("")) != ""
    return content.isNotNull()


def describe_contents(items: DataFrame, seen: DataFrame | None, config: EncoderConfig) -> DataFrame:
    """Return the contents of the items whose newest vector isn't of their present content.

    Parameters
    ----------
    items : each item's newest row, that `has_content`.
    seen : each item's newest row of ``item_embedding`` by this encoder; None where
        there are none.

    Returns
    -------
    item_id, event_timestamp, content, content_hash, and the reason where a file can't
    be read, in which case the hash is null.
    """
    if config.media_column is None:
        described = _texts(items, config)
    else:
        # An item row that was encoded before isn't read again.
        unread = _without(items, seen, c.EVENT_TIMESTAMP)
        described = _files(unread, config)
    return _without(described, seen, c.CONTENT_HASH)


def _without(items: DataFrame, seen: DataFrame | None, column: str) -> DataFrame:
    if seen is None:
        return items
    return items.join(seen.select(c.ITEM_ID, column), [c.ITEM_ID, column], "left_anti")


def _texts(items: DataFrame, config: EncoderConfig) -> DataFrame:
    fields = [f.coalesce(f.col(name).cast("string"), f.lit("")) for name in config.text_fields]
    text = f.trim(f.concat_ws(" ", *fields))
    return items.select(
        c.ITEM_ID,
        c.EVENT_TIMESTAMP,
        text.alias(CONTENT),
        f.sha2(text, 256).alias(c.CONTENT_HASH),
        f.when(~f.is_valid_utf8(text), NOT_UNICODE.format("text")).alias(c.REASON),
    )


def _files(items: DataFrame, config: EncoderConfig) -> DataFrame:
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
        found = list(pool.map(lambda content: _hash_one(content, reader), contents))
    hashes = [hashed for hashed, _ in found]
    reasons = [reason for _, reason in found]
    return batch.append_column(c.CONTENT_HASH, pa.array(hashes, pa.string())).append_column(
        c.REASON, pa.array(reasons, pa.string())
    )


def _hash_one(content: pa.Scalar, reader: MediaReader) -> tuple[str | None, str | None]:
    """Return the hash of an item's bytes, or why it has none; of frames, of their hashes."""
    try:
        return reader.hash(content.as_py(), MAX_FRAMES), None
    except RefusedError as refused:
        return None, str(refused)
    except UnicodeDecodeError:
        return None, NOT_UNICODE.format("path")
