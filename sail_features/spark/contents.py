"""What is to be encoded: each new item's content, and the hash that it is known by.

A text is hashed by Spark. A file is read once by its item's first run and known by the
hash of its bytes, so that copies and renamed files are encoded once; the encode task
checks it when it decodes. A file replaced in place after its item was encoded isn't
noticed: what changes gets a new row of items. Texts with files are known by all their
hashes together (`content_parts`).
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.errors import ConfigError, InputError
from sail_features.spark.content_files import CONTENT, NOT_UNICODE, describe_files, names_file
from sail_features.spark.content_parts import describe_parts, join_text


def check_fields(items: DataFrame, config: EncoderConfig) -> None:
    """Refuse items that lack the columns to encode.

    Raises
    ------
    InputError
        A column is missing.
    ConfigError
        The items name files, and no folder is given that they may lie in.
    """
    for name, setting in config.content_columns.items():
        if name not in items.columns:
            raise InputError.missing_column(f"items (encoder.{setting})", name, items.columns)
        is_path = "string" in items.schema[name].dataType.simpleString()
        if setting != "text_fields" and is_path:
            _check_media_root(config.media_root, name)


def _check_media_root(root: Path | None, column: str) -> None:
    if root is None or not root.is_dir():
        problem = "is not set" if root is None else f"{root} is no folder"
        raise ConfigError.say(
            "encoder.media_root",
            f"{problem}, but items name files in {column!r}",
            hint="give the folder that holds them all, at the same path on every executor",
        )


def has_content(items: DataFrame, config: EncoderConfig) -> Column:
    """Tell which items have what is encoded; all have a text, if a blank one, where that is."""
    if config.kind == "sail":
        texts = [join_text(config) != ""]
        files = [names_file(items, column) for column in config.media_columns.values()]
        return reduce(or_, texts + files)
    if config.media_column is None:
        return f.lit(True)
    return names_file(items, config.media_column)


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
    if config.reads_files:
        # An item row that was encoded before isn't read again.
        items = _without(items, seen, c.EVENT_TIMESTAMP)
    if config.kind == "sail":
        described = describe_parts(items, config)
    else:
        describe = _describe_texts if config.media_column is None else describe_files
        described = describe(items, config)
    return _without(described, seen, c.CONTENT_HASH)


def _without(items: DataFrame, seen: DataFrame | None, column: str) -> DataFrame:
    if seen is None:
        return items
    return items.join(seen.select(c.ITEM_ID, column), [c.ITEM_ID, column], "left_anti")


def _describe_texts(items: DataFrame, config: EncoderConfig) -> DataFrame:
    text = join_text(config)
    return items.select(
        c.ITEM_ID,
        c.EVENT_TIMESTAMP,
        text.alias(CONTENT),
        f.sha2(text, 256).alias(c.CONTENT_HASH),
        f.when(~f.is_valid_utf8(text), NOT_UNICODE.format("text")).alias(c.REASON),
    )
