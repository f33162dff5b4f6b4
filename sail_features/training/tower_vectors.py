"""The frozen towers' vectors of all items, which training reads in place of texts and files.

They come from ``item_embedding``, where the Spark job of that encoder wrote them. What no
job has encoded (each run of it has one encoder) is encoded here, once, by this process,
and kept beside the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.derived import DERIVED, mark_used
from sail_features.embeddings import META_NAME, EmbeddingTable, load_embedding_table
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.pipeline import encode_contents
from sail_features.encoders.protocol import Content, Encoder
from sail_features.errors import InputError, MissingTableError
from sail_features.history import ids_of, us_of
from sail_features.item_vectors import build_embedding_table
from sail_features.manifest import sha256_of
from sail_features.newest import newest_by_key
from sail_features.schemas import TIMESTAMP
from sail_features.tables import TableStore

Say = Callable[[str], None]


@dataclass(frozen=True)
class Known:
    """What may be read: rows of the partitions up to ``as_of``, stamped before ``until``."""

    as_of: datetime
    until: datetime


def read_tower_vectors(
    store: TableStore, config: EncoderConfig, known: Known, say: Say
) -> EmbeddingTable:
    """Return a tower's vector of each item that was known and has such a content.

    Parameters
    ----------
    say : is told where the vectors come from.

    Raises
    ------
    InputError
        No item has such a content, or the items lack the column.
    ModelError
        The tower can't be found.
    """
    encoder = build_encoder(config)
    found = find_tower_vectors(store, config, known)
    if found is None:
        say(f"{encoder.encoder_id}: not in item_embedding, so its items are encoded here")
        folder = _cache_folder(store, config, known)
        _encode_items(_read(store, "items", known), config, encoder).save(folder)
        found = load_embedding_table(folder)
    say(f"{encoder.encoder_id}: vectors of {len(found):,} items")
    return found


def find_tower_vectors(
    store: TableStore, config: EncoderConfig, known: Known
) -> EmbeddingTable | None:
    """Return a tower's vectors where they are there already; None where they aren't."""
    published = _published(store, build_encoder(config).encoder_id, known)
    if published is not None:
        return published
    folder = _cache_folder(store, config, known)
    return load_embedding_table(mark_used(folder)) if (folder / META_NAME).is_file() else None


def _cache_folder(store: TableStore, config: EncoderConfig, known: Known) -> Path:
    """Return where the vectors of these items by this encoder are kept."""
    fingerprints = [manifest.fingerprint for manifest in store.covering("items", known.as_of)]
    encoder_id = build_encoder(config).encoder_id
    key = sha256_of([fingerprints, encoder_id, known.until, config.model_dump(mode="json")])[:16]
    return store.root / DERIVED / f"tower-{key}"


def _read(store: TableStore, table: str, known: Known) -> pa.Table:
    rows = store.read(table, known.as_of)
    return rows.filter(pc.less(rows[c.EVENT_TIMESTAMP], pa.scalar(known.until, TIMESTAMP)))


def _published(store: TableStore, encoder_id: str, known: Known) -> EmbeddingTable | None:
    try:
        rows = _read(store, "item_embedding", known)
    except MissingTableError:
        return None
    if not pc.any(pc.equal(rows[c.ENCODER_ID], encoder_id)).as_py():
        return None
    return build_embedding_table(rows, encoder_id)


def _encode_items(items: pa.Table, config: EncoderConfig, encoder: Encoder) -> EmbeddingTable:
    """Encode each item's newest content; items that have none, or a bad one, are left out."""
    items = newest_by_key(items, c.ITEM_ID)
    ids = ids_of(items[c.ITEM_ID])
    contents = contents_of(items, config)
    has = [row for row, content in enumerate(contents) if content]
    encoded = encode_contents(encoder, [contents[row] for row in has])
    good = [place for place, reason in enumerate(encoded.reasons) if reason is None]
    if not good:
        raise InputError.say(
            f"tower {encoder.encoder_id}",
            f"none of {len(ids)} items has a content that it can encode",
            hint="name the columns that it reads, or leave the tower out of the recipe",
        )
    rows = np.array(has)[good]
    times = us_of(items[c.EVENT_TIMESTAMP])[rows]
    return EmbeddingTable(ids[rows], encoded.vectors[good], encoder.encoder_id, times)


def contents_of(items: pa.Table, config: EncoderConfig) -> Sequence[Content]:
    """Return what an encoder of this configuration reads of each item; empty where nothing.

    Raises
    ------
    InputError
        A column is missing.
    """
    for name, setting in config.content_columns.items():
        if name not in items.column_names:
            where = f"items (towers, {setting})"
            raise InputError.missing_column(where, name, items.column_names)
    if config.media_column is not None:
        files: Sequence[Content] = items[config.media_column].to_pylist()
        return files
    fields = [items[name].cast(pa.string()).fill_null("") for name in config.text_fields]
    joined = pc.binary_join_element_wise(*fields, " ")
    found: Sequence[Content] = pc.utf8_trim(joined, characters=" ").to_pylist()
    return found
