"""The memory-mapped copy of ``item_embedding`` that executors and servers read.

Made once for each state of the table, beside the tables, and found again by its
fingerprint. All machines must see the folder under the same path.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.derived import DERIVED, mark_used
from sail_features.embeddings import (
    META_NAME,
    EmbeddingTable,
    load_embedding_table,
    unpack_vectors,
)
from sail_features.errors import InputError
from sail_features.history import ids_of
from sail_features.manifest import sha256_of
from sail_features.newest import newest_by_key
from sail_features.placebo import Placebo
from sail_features.tables import TableStore


def derive_item_vectors(
    store: TableStore,
    encoder_id: str,
    as_of: datetime,
    *,
    placebo: Placebo | None = None,
    dim: int | None = None,
) -> Path:
    """Write the newest vector of each item before ``as_of``; return the folder.

    Parameters
    ----------
    encoder_id : vectors of other encoders are left out.
    placebo : give items vectors that aren't theirs.
    dim : keep only so many numbers of each vector; None keeps all.

    Raises
    ------
    MissingTableError
        Nothing was encoded yet.
    InputError
        Nothing was encoded by this encoder.
    """
    manifests = store.covering("item_embedding", as_of)
    key = sha256_of([[m.fingerprint for m in manifests], encoder_id, placebo, dim])[:16]
    folder = store.root / DERIVED / f"item_vectors-{key}"
    if (folder / META_NAME).is_file():
        return mark_used(folder)
    table = build_embedding_table(store.read("item_embedding", as_of), encoder_id)
    if placebo is not None:
        table = placebo.apply(table)
    if dim is not None:
        table = table.prefix(dim)
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    table.save(unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return folder


def build_embedding_table(rows: pa.Table, encoder_id: str) -> EmbeddingTable:
    """Return the newest vector of each item from rows of ``item_embedding``."""
    rows = rows.filter(pc.equal(rows[c.ENCODER_ID], encoder_id))
    if not rows.num_rows:
        raise InputError.not_encoded(encoder_id)
    picked = newest_by_key(rows, c.ITEM_ID)
    return EmbeddingTable(
        ids_of(picked[c.ITEM_ID]),
        unpack_vectors(picked[c.EMBEDDING].to_pylist(), picked[c.DIM][0].as_py()),
        encoder_id,
        picked[c.AVAILABLE_AT].cast(pa.int64()).to_numpy(),
    )


@lru_cache(maxsize=2)
def open_item_vectors(folder: Path) -> EmbeddingTable:
    """Memory-map a derived folder, once a process."""
    return load_embedding_table(folder)
