"""The categories beside the vectors."""

from __future__ import annotations

import numpy as np
import worlds
from worlds import at

from sail_features import columns as c
from sail_features.embeddings import EmbeddingTable
from sail_features.item_categories import derive_item_categories, open_item_categories
from sail_features.tables import TableStore

TABLE = EmbeddingTable(
    np.array(["a", "b", "c"]), np.eye(3, dtype=np.float32), "test", np.zeros(3, np.int64)
)


def derive(store: TableStore, day: float):
    path = derive_item_categories(store, store.root / "_derived" / "vectors", TABLE, at(day))
    return None if path is None else open_item_categories(path).tolist()


def publish(store: TableStore, rows, day: float, since: float | None = None) -> None:
    table = worlds.items(rows, c.CATEGORY)
    start = None if since is None else at(since)
    worlds.publish(store, "items", table, as_of=at(day), since=start)


def test_first_category_stays_when_an_item_is_moved(tmp_path):
    store = TableStore(tmp_path)
    (tmp_path / "_derived").mkdir()
    publish(store, [("a", at(0), "x", "tea"), ("b", at(0), "x", None), ("z", at(0), "x", "mug")], 1)
    assert derive(store, 1) == [1, -1, -1]
    publish(store, [("a", at(1), "x", "mug"), ("c", at(1), "x", "tea")], 2, since=1)
    assert derive(store, 2) == [1, -1, 1]
    assert derive(store, 1) == [1, -1, -1]


def test_catalogue_without_categories_has_none(tmp_path):
    store = TableStore(tmp_path)
    (tmp_path / "_derived").mkdir()
    worlds.publish(store, "items", worlds.items([("a", at(0), "x")]), as_of=at(1))
    assert derive(store, 1) is None
    publish(store, [("b", at(1), "x", None)], 2, since=1)
    assert derive(store, 2) is None
