"""Each item's category as a number beside its vector, for features of the same category.

Memory-mapped as the vectors are. The category is the first that was known of an item,
so that a later change reaches no earlier row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.derived import mark_used
from sail_features.embeddings import EmbeddingTable
from sail_features.history import ids_of
from sail_features.manifest import Manifest, sha256_of
from sail_features.tables import TableStore


def derive_item_categories(
    store: TableStore, vectors: Path, table: EmbeddingTable, as_of: datetime
) -> Path | None:
    """Write the categories of ``table``'s items; return the file, None where none has any.

    Parameters
    ----------
    vectors : folder of ``table``, from `sail_features.item_vectors.derive_item_vectors`.
    """
    parts = store.covering("items", as_of)
    files = files_with_categories(store, parts)
    if not files:
        return None
    key = sha256_of([[m.fingerprint for m in parts], vectors.name])[:16]
    path = vectors.parent / f"item_category-{key}.npy"
    if path.is_file():
        mark_used(path)
    else:
        names = [c.ITEM_ID, c.EVENT_TIMESTAMP, c.CATEGORY]
        rows = pa.concat_tables([pq.read_table(file, columns=names) for file in files])
        with path.with_suffix(".unfinished").open("wb") as unfinished:
            np.save(unfinished, categories_of(rows, table), allow_pickle=False)
        path.with_suffix(".unfinished").rename(path)
    return path if bool((open_item_categories(path) >= 0).any()) else None


def files_with_categories(store: TableStore, items: Sequence[Manifest]) -> list[str]:
    """Return the files of these partitions of ``items`` that have the column at all."""
    return [path for path in store.files(items) if c.CATEGORY in pq.read_schema(path).names]


def categories_of(rows: pa.Table, table: EmbeddingTable) -> NDArray[np.int64]:
    """Return a code of each of the table's items' first category, -1 where it has none.

    Examples
    --------
    >>> table = EmbeddingTable(np.array([1, 2]), np.eye(2, dtype=np.float32), "hash",
    ...                        np.zeros(2, np.int64))
    >>> rows = pa.table({c.ITEM_ID: [2, 2], c.EVENT_TIMESTAMP: [9, 5], c.CATEGORY: ["tea", "mug"]})
    >>> categories_of(rows, table)
    array([-1,  0])
    """
    rows = rows.filter(pc.is_valid(rows[c.CATEGORY]))
    # Latest first, so that an item's earliest row is the last one to be written.
    rows = rows.sort_by([(c.EVENT_TIMESTAMP, "descending"), (c.CATEGORY, "descending")])
    place = table.rows_of(ids_of(rows[c.ITEM_ID]))
    names = pc.unique(rows[c.CATEGORY]).sort()
    code = pc.index_in(rows[c.CATEGORY], names).to_numpy().astype(np.int64)
    codes = np.full(len(table), -1, np.int64)
    codes[place[place >= 0]] = code[place >= 0]
    return codes


def open_item_categories(path: Path) -> NDArray[np.int64]:
    """Memory-map what `derive_item_categories` wrote."""
    codes: NDArray[np.int64] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    return codes
