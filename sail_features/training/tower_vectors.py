"""The frozen towers' vectors of all items, which training reads in place of texts and files.

They come from ``item_embedding``, where the Spark job of that encoder wrote them. What no
job has encoded (each run of it has one encoder) is encoded here, once, by this process,
and kept beside the tables; so are frames and patches, of which a job keeps the mean alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.derived import DERIVED, mark_used
from sail_features.embeddings import META_NAME, EmbeddingTable, load_embedding_table
from sail_features.encoders.catalogue import build_encoder
from sail_features.encoders.omni.inputs import TowerTable
from sail_features.encoders.omni.parts import load_parts, write_parts
from sail_features.encoders.omni.settings import Tower
from sail_features.encoders.omni.towers import TowerReader, read_windows
from sail_features.encoders.pipeline import encode_contents
from sail_features.encoders.protocol import Content, Encoder, Refusal
from sail_features.errors import ConfigError, InputError, MissingTableError
from sail_features.history import ids_of, us_of
from sail_features.item_vectors import build_embedding_table
from sail_features.manifest import sha256_of
from sail_features.newest import newest_by_key
from sail_features.schemas import TIMESTAMP
from sail_features.tables import TableStore
from sail_features.training.recipe import TowerRecipe

Say = Callable[[str], None]


@dataclass(frozen=True)
class Known:
    """What may be read: rows of the partitions up to ``as_of``, stamped before ``until``."""

    as_of: datetime
    until: datetime


def read_tower_vectors(store: TableStore, tower: TowerRecipe, known: Known, say: Say) -> TowerTable:
    """Return a tower's vectors of each item that was known and has such a content.

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
    encoder = build_encoder(tower)
    found = find_tower_vectors(store, tower, known)
    if found is None:
        where = (
            "not in item_embedding" if tower.reads == "pooled" else f"no table has {tower.reads}"
        )
        say(f"{encoder.encoder_id}: {where}, so its items are encoded here")
        folder = _cache_folder(store, tower, known)
        refused = _encode_items(_read_items(store, known), tower, encoder, folder)
        for reason, count in refused.most_common():
            say(f"{encoder.encoder_id}: {count:,} items left out: {reason}")
        found = _load(folder, tower)
    say(f"{encoder.encoder_id}: {tower.reads} vectors of {len(found):,} items")
    return found


def check_tower(name: str, tower: TowerRecipe) -> None:
    """Refuse a tower that can't be found, or whose parts are more than the model reads.

    Raises
    ------
    ConfigError, ModelError
        Names the tower and what to set.
    """
    encoder = build_encoder(tower)
    each = encoder.frame_tokens if tower.reads == "patches" else 1  # type: ignore[attr-defined]
    if tower.reads != "pooled" and tower.tokens < each:
        raise ConfigError.say(
            f"model.towers.{name}",
            f"tokens is {tower.tokens}, and one frame of {encoder.encoder_id} has {each}",
            hint=f"set tokens to {each} times the most frames that an item may have",
        )


def find_tower_vectors(store: TableStore, tower: TowerRecipe, known: Known) -> TowerTable | None:
    """Return a tower's vectors where they are there already; None where they aren't."""
    if tower.reads == "pooled":
        published = _published(store, build_encoder(tower).encoder_id, known)
        if published is not None:
            return published
    folder = _cache_folder(store, tower, known)
    return _load(mark_used(folder), tower) if (folder / META_NAME).is_file() else None


def _load(folder: Path, tower: TowerRecipe) -> TowerTable:
    return load_embedding_table(folder) if tower.reads == "pooled" else load_parts(folder)


def read_words(
    store: TableStore, fields: Sequence[str], known: Known
) -> tuple[NDArray[Any], list[str]]:
    """Return the items that have a text and were known, ascending, and their texts.

    Raises
    ------
    InputError
        No item has a text, or the items lack a column.
    """
    items = _read_items(store, known)
    texts = contents_of(items, EncoderConfig(text_fields=tuple(fields)))
    filled = [row for row, text in enumerate(texts) if text]
    if not filled:
        raise InputError.say(
            "model.text_fields",
            f"none of {len(items)} items has a text in {', '.join(fields)}",
            hint="name the columns that hold the items' words",
        )
    return ids_of(items[c.ITEM_ID])[filled], [str(texts[row]) for row in filled]


def _cache_folder(store: TableStore, config: TowerRecipe, known: Known) -> Path:
    """Return where the vectors of these items by this encoder are kept."""
    fingerprints = [manifest.fingerprint for manifest in store.covering("items", known.as_of)]
    encoder_id = build_encoder(config).encoder_id
    shaping = config.model_dump(mode="json", exclude={"queries", "tokens_per_batch"})
    key = sha256_of([fingerprints, encoder_id, known.until, shaping])[:16]
    return store.root / DERIVED / f"tower-{key}"


def _read(store: TableStore, table: str, known: Known) -> pa.Table:
    rows = store.read(table, known.as_of)
    return rows.filter(pc.less(rows[c.EVENT_TIMESTAMP], pa.scalar(known.until, TIMESTAMP)))


def _read_items(store: TableStore, known: Known) -> pa.Table:
    """Return the newest row of each item that was known."""
    items = _read(store, "items", known)
    if not len(items):
        raise InputError.say(
            "--trained-until",
            f"no item was known before {known.until}",
            hint="give a later one, or import the items with the time they became known",
        )
    return newest_by_key(items, c.ITEM_ID)


def _published(store: TableStore, encoder_id: str, known: Known) -> EmbeddingTable | None:
    try:
        rows = _read(store, "item_embedding", known)
    except MissingTableError:
        return None
    if not pc.any(pc.equal(rows[c.ENCODER_ID], encoder_id)).as_py():
        return None
    return build_embedding_table(rows, encoder_id)


def _encode_items(
    items: pa.Table, tower: TowerRecipe, encoder: Encoder, folder: Path
) -> Counter[str]:
    """Encode each item's newest content; return how many were refused, by their reasons."""
    contents = contents_of(items, tower)
    has = [row for row, content in enumerate(contents) if content]
    there = _Contents(
        [contents[row] for row in has],
        ids_of(items[c.ITEM_ID])[has],
        us_of(items[c.EVENT_TIMESTAMP])[has],
    )
    if tower.reads == "pooled":
        refused = Counter(_encode_pooled(there, encoder, folder))
    else:
        described = Tower.of(tower, dim=encoder.dim, encoder_id=encoder.encoder_id)
        refused = Counter(_encode_parts(there, TowerReader(described, encoder), folder))
    if refused.total() == len(has):
        why = "".join(f"; {count:,}: {reason}" for reason, count in refused.most_common(3))
        raise InputError.say(
            f"tower {encoder.encoder_id}",
            f"none of {len(items)} items has a content that it can encode{why}",
            hint="name the columns that it reads, or leave the tower out of the recipe",
        )
    return refused


class _Contents(NamedTuple):
    """What items hold, their ids, and when it was known, in microseconds since 1970 UTC."""

    contents: Sequence[Content]
    ids: NDArray[Any]
    times_us: NDArray[np.int64]


def _encode_pooled(items: _Contents, encoder: Encoder, folder: Path) -> list[str]:
    """Write one vector of each content that can be encoded; return why others can't."""
    encoded = encode_contents(encoder, items.contents)
    good = np.flatnonzero([reason is None for reason in encoded.reasons])
    if len(good):
        vectors = encoded.vectors[good]
        ids, times_us = items.ids[good], items.times_us[good]
        EmbeddingTable(ids, vectors, encoder.encoder_id, times_us).save(folder)
    return [reason for reason in encoded.reasons if reason is not None]


def _encode_parts(items: _Contents, tower: TowerReader, folder: Path) -> list[str]:
    """Write all vectors of each content that can be encoded; return why others can't."""
    reasons = []

    def read() -> Iterator[list[NDArray[np.float32] | None]]:
        for window in read_windows(tower, items.contents):
            reasons.extend([one.reason for one in window if isinstance(one, Refusal)])
            yield [None if isinstance(one, Refusal) else one for one in window]

    write_parts(
        folder,
        read(),
        ids=items.ids,
        encoder_id=tower.encoder.encoder_id,
        available_at_us=items.times_us,
    )
    return reasons


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
