"""Contents of several modalities: a text, images and a sound, hashed together.

A content is a struct with one field a modality, and the hash that each file had when it
was first read, which the encode task holds its bytes against.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f
from pyspark.sql.types import StringType, StructField, StructType

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.encoders.media import HashedFiles, MediaReader
from sail_features.encoders.omni.settings import TEXT
from sail_features.spark.content_files import (
    CONTENT,
    NOT_UNICODE,
    READERS,
    hash_one,
    names_file,
)

HASH_SUFFIX: Final = "_hash"


def join_text(config: EncoderConfig) -> Column:
    """Return an item's text fields as one text."""
    fields = [f.coalesce(f.col(name).cast("string"), f.lit("")) for name in config.text_fields]
    return f.trim(f.concat_ws(" ", *fields))


def describe_parts(items: DataFrame, config: EncoderConfig) -> DataFrame:
    """Return `contents.describe_contents` of items with a text and files."""
    text = join_text(config)
    parts = [f.when(text != "", text).alias(TEXT)]
    hashes = [f.when(text != "", f.sha2(text, 256)).alias(TEXT + HASH_SUFFIX)]
    for modality, column in config.media_columns.items():
        parts.append(f.when(names_file(items, column), f.col(column)).alias(modality))
        hashes.append(f.lit(None).cast("string").alias(modality + HASH_SUFFIX))
    named = items.select(
        c.ITEM_ID,
        c.EVENT_TIMESTAMP,
        f.struct(*parts, *hashes).alias(CONTENT),
        f.when(~f.is_valid_utf8(text), NOT_UNICODE.format(TEXT)).alias(c.REASON),
    )
    reader = MediaReader(config.media_root, config.max_media_bytes)
    modalities = tuple(config.media_columns)

    def hash_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield hash_parts(batch, modalities, reader)

    hashed = StructField(c.CONTENT_HASH, StringType())
    return named.mapInArrow(hash_batches, StructType([*named.schema.fields, hashed]))


def hash_parts(
    batch: pa.RecordBatch, modalities: Sequence[str], reader: MediaReader
) -> pa.RecordBatch:
    """Fill in the hashes of a batch's files, the reasons, and the hash of all parts."""
    struct = batch.column(CONTENT)
    fields = {field.name: struct.field(field.name) for field in struct.type}
    reasons = batch.column(c.REASON).to_pylist()
    for modality in modalities:
        found = _hash_each(fields[modality], reader)
        fields[modality + HASH_SUFFIX] = pa.array([hashed for hashed, _ in found], pa.string())
        said = [None if reason is None else f"{modality}: {reason}" for _, reason in found]
        reasons = [old or new for old, new in zip(reasons, said, strict=True)]
    parts = [fields[name].to_pylist() for name in fields if name.endswith(HASH_SUFFIX)]
    joined = [
        None if reason else _join_hashes(hashes)
        for reason, hashes in zip(reasons, zip(*parts, strict=True), strict=True)
    ]
    columns = {
        **{name: batch.column(name) for name in batch.schema.names},
        CONTENT: pa.StructArray.from_arrays(list(fields.values()), list(fields)),
        c.REASON: pa.array(reasons, pa.string()),
        c.CONTENT_HASH: pa.array(joined, pa.string()),
    }
    return pa.RecordBatch.from_pydict(columns)


def parts_in(window: Sequence[pa.RecordBatch]) -> list[dict[str, Any]]:
    """Return the contents of a window's batches, as `omni.encoder` reads them."""
    return [_part_of(row) for batch in window for row in batch.column(CONTENT).to_pylist()]


def _part_of(content: dict[str, Any]) -> dict[str, Any]:
    found = {TEXT: content[TEXT]}
    for name, files in content.items():
        if name != TEXT and not name.endswith(HASH_SUFFIX) and files is not None:
            found[name] = HashedFiles(files, content[name + HASH_SUFFIX])
    return found


def _hash_each(files: pa.Array, reader: MediaReader) -> list[tuple[str | None, str | None]]:
    def hash_there(one: pa.Scalar) -> tuple[str | None, str | None]:
        return hash_one(one, reader) if one.is_valid else (None, None)

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(hash_there, files))


def _join_hashes(hashes: Sequence[str | None]) -> str:
    """Return one hash of a content's parts; a missing part is part of it."""
    return hashlib.sha256("|".join(one or "" for one in hashes).encode()).hexdigest()
