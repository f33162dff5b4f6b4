"""Where a server finds the vectors of the items that a request is about.

Best in a memory-mapped table on its own disk, the one that the match job reads
(`LocalItems`). A server that sees no tables asks the online store for the bytes of the
``item_embedding`` view, once a request (`OnlineItems`): slower, the same numbers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final, Protocol

import numpy as np
from feast import FeatureStore
from feast.utils import get_default_yaml_file_path
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.config import CONFIG_VARIABLE, load_config
from sail_features.embeddings import EmbeddingTable, unpack_vectors
from sail_features.errors import ConfigError, SailError
from sail_features.feast_plugin.match_definition import MatchDefinition
from sail_features.feast_plugin.store import open_feature_store
from sail_features.item_categories import derive_item_categories, open_item_categories
from sail_features.item_vectors import derive_item_vectors, open_item_vectors
from sail_features.schemas import ITEM_EMBEDDING, ITEMS
from sail_features.tables import TableStore

LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedItems:
    """Vectors, and beside each the code of its item's category, -1 where it has none."""

    table: EmbeddingTable
    category: NDArray[np.int64] | None = None


class ItemSource(Protocol):
    """Finds items for requests; called by many threads at a time."""

    def of(self, ids: Sequence[Any]) -> ServedItems:
        """Return items; at least those of ``ids`` that have a vector."""

    def sample(self) -> ServedItems:
        """Return a few items, real or not, to try the kernel on."""


def open_items(definition: MatchDefinition) -> ItemSource:
    """Return the server's own table where its tables are there, and else the online store.

    Raises
    ------
    ConfigError
        Features of categories without a local table: no view has those.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    root = load_config(Path(named)).tables if named else definition.tables
    tables = TableStore(root)
    if tables.manifests(ITEM_EMBEDDING.name):
        return LocalItems(tables, definition)
    if definition.categories:
        raise ConfigError.say(
            str(root),
            "no item_embedding and no items here, and the features need the items' categories",
            hint=f"copy both tables to this machine and let {CONFIG_VARIABLE} name their sail.yaml",
        )
    return OnlineItems(definition)


@dataclass
class LocalItems:
    """The newest vectors of all items, memory-mapped; opened again when the tables change.

    While one request opens the new ones, others go on with the old. What can't be opened
    (the items were encoded again by another encoder) leaves the old in place.
    """

    tables: TableStore
    definition: MatchDefinition
    _opened: ServedItems | None = None
    _seen: tuple[int, ...] = ()
    _opening: Lock = field(default_factory=Lock)

    def of(self, ids: Sequence[Any]) -> ServedItems:  # all of them
        """Return all items."""
        changed, opened = self._changed(), self._opened
        if opened is not None and (changed == self._seen or self._opening.locked()):
            return opened
        with self._opening:
            if self._opened is None or changed != self._seen:
                self._opened, self._seen = self._newest(), changed
            return self._opened

    def sample(self) -> ServedItems:
        """Return all items."""
        return self.of(())

    def _changed(self) -> tuple[int, ...]:
        """Return when a partition was last put into each table, or taken out."""
        folders = (self.tables.root / name for name in (ITEM_EMBEDDING.name, ITEMS.name))
        return tuple(folder.stat().st_mtime_ns for folder in folders if folder.is_dir())

    def _newest(self) -> ServedItems:
        try:
            return self._open()
        except (SailError, OSError) as error:
            if self._opened is None:
                raise
            LOG.warning("item vectors stay those of before: %s", error)
            return self._opened

    def _open(self) -> ServedItems:
        asked, as_of = self.definition, self.tables.latest(ITEM_EMBEDDING.name).as_of
        folder = derive_item_vectors(self.tables, asked.encoder_id, as_of, dim=asked.match.dim)
        table = open_item_vectors(folder)
        if not asked.categories:
            return ServedItems(table)
        newest = self.tables.latest(ITEMS.name).as_of
        codes = derive_item_categories(self.tables, folder, table, newest)
        return ServedItems(table, None if codes is None else open_item_categories(codes))


@dataclass
class OnlineItems:
    """The vectors that the online store has, read for each request.

    The repository is the one that Feast finds: in the working directory, as for
    ``feast serve``, or where ``FEAST_FS_YAML_FILE_PATH`` points.
    """

    definition: MatchDefinition
    _store: FeatureStore | None = None

    def of(self, ids: Sequence[Any]) -> ServedItems:
        """Return the items of ``ids`` that have a vector by the definition's encoder."""
        if self._store is None:
            self._store = open_feature_store(get_default_yaml_file_path(Path.cwd()).parent)
        names = [f"{ITEM_EMBEDDING.name}:{name}" for name in (c.EMBEDDING, c.DIM, c.ENCODER_ID)]
        distinct = sorted(set(ids))
        found = self._store.get_online_features(
            names, [{c.ITEM_ID: item} for item in distinct]
        ).to_dict()
        rows = [
            row
            for row, encoder in enumerate(found[c.ENCODER_ID])
            if encoder == self.definition.encoder_id
        ]
        if not rows:
            return ServedItems(self._table(np.array([], np.int64), np.empty((0, 1), np.float16)))
        packed = [found[c.EMBEDDING][row] for row in rows]
        known = np.array([distinct[row] for row in rows])
        table = self._table(known, unpack_vectors(packed, found[c.DIM][rows[0]]))
        return ServedItems(_as_stored(table, self.definition.match.dim))

    def sample(self) -> ServedItems:
        """Return two items that no request is about."""
        return ServedItems(self._table(np.arange(2), np.eye(2, 8, dtype=np.float16)))

    def _table(self, ids: NDArray[Any], vectors: NDArray[Any]) -> EmbeddingTable:
        times = np.zeros(len(ids), np.int64)
        return EmbeddingTable(ids, vectors, self.definition.encoder_id, times)


def _as_stored(table: EmbeddingTable, dim: int | None) -> EmbeddingTable:
    """Return the prefix of each vector with the bits that a derived table has on disk."""
    if dim is None:
        return table
    short = table.prefix(dim)
    return EmbeddingTable(
        short.ids, short.vectors.astype(np.float16), short.encoder_id, short.available_at_us
    )
