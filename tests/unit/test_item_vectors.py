"""The copy of the embeddings that executors map: newest version, one encoder, one placebo."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from worlds import at

from sail_features import columns as c
from sail_features.embeddings import EmbeddingTable, pack_column
from sail_features.errors import InputError, MissingTableError
from sail_features.history import to_us
from sail_features.item_vectors import (
    build_embedding_table,
    derive_item_vectors,
    open_item_vectors,
)
from sail_features.placebo import Placebo
from sail_features.schemas import ITEM_EMBEDDING, conform
from sail_features.tables import TableStore

AXES = np.eye(4, dtype=np.float32)


def rows(*made: tuple[object, datetime, int], encoder: str = "one") -> pa.Table:
    """Return embedding rows of (item, time, axis that the vector points along)."""
    items, times, axes = zip(*made, strict=True)
    count = len(made)
    table = pa.table(
        {
            c.ITEM_ID: list(items),
            c.EVENT_TIMESTAMP: list(times),
            c.AVAILABLE_AT: [max(time, at(5)) for time in times],
            c.CREATED: [at(0)] * count,
            c.EMBEDDING: pack_column(AXES[list(axes)]),
            c.DIM: [4] * count,
            c.ENCODER_ID: [encoder] * count,
            c.CONTENT_HASH: [str(axis) for axis in axes],
        }
    )
    return conform(table, ITEM_EMBEDDING)


def axes_of(table: EmbeddingTable) -> dict[object, int]:
    return dict(zip(table.ids.tolist(), table.vectors.argmax(axis=1).tolist(), strict=True))


def put(store: TableStore, as_of: datetime, table: pa.Table, since: datetime | None = None):
    with store.replace_partition("item_embedding", as_of, since=since, config={}) as partition:
        partition.write(table)


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path)


@pytest.mark.parametrize("ids", [("a", "b", "ä"), (2, 10, -1)])
def test_newest_version_of_each_item_wins(ids: Sequence[object]):
    first, second, third = ids
    table = build_embedding_table(
        rows((second, at(3), 2), (first, at(2), 0), (first, at(1), 1), (third, at(9), 3)), "one"
    )
    assert axes_of(table) == {first: 0, second: 2, third: 3}
    assert table.available_at_us[table.ids == first] == to_us(at(5))
    assert table.available_at_us[table.ids == third] == to_us(at(9))


def test_of_versions_of_one_moment_the_later_written_wins():
    both = pa.concat_tables([rows(("a", at(1), 0)), rows(("a", at(1), 1))])
    assert axes_of(build_embedding_table(both, "one")) == {"a": 1}


def test_vectors_of_other_encoders_are_left_out():
    both = pa.concat_tables(
        [rows(("a", at(1), 0), ("b", at(1), 0)), rows(("a", at(2), 1), encoder="other")]
    )
    assert axes_of(build_embedding_table(both, "one")) == {"a": 0, "b": 0}
    with pytest.raises(InputError, match="holds no vector of encoder 'third'"):
        build_embedding_table(both, "third")


def test_partitions_after_as_of_are_not_seen(store):
    put(store, at(2), rows(("a", at(1), 0), ("b", at(1), 0)))
    put(store, at(4), rows(("a", at(3), 1)), since=at(2))
    early, late = (
        axes_of(open_item_vectors(derive_item_vectors(store, "one", at(day)))) for day in (2, 4)
    )
    assert early == {"a": 0, "b": 0}
    assert late == {"a": 1, "b": 0}


def test_derived_copy_is_made_once_and_again_after_a_change(store, monkeypatch):
    put(store, at(2), rows(("a", at(1), 0)))
    folder = derive_item_vectors(store, "one", at(2))
    with monkeypatch.context() as patched:
        patched.setattr("sail_features.item_vectors.build_embedding_table", None)
        assert derive_item_vectors(store, "one", at(2)) == folder
    put(store, at(2), rows(("a", at(1), 1)))
    again = derive_item_vectors(store, "one", at(2))
    assert again != folder
    assert axes_of(open_item_vectors(again)) == {"a": 1}


def test_half_made_copy_is_made_again(store):
    put(store, at(2), rows(("a", at(1), 0)))
    folder = derive_item_vectors(store, "one", at(2))
    (folder / "meta.json").unlink()
    (folder / "vectors.npy").write_bytes(b"")
    assert derive_item_vectors(store, "one", at(2)) == folder
    assert axes_of(open_item_vectors(folder)) == {"a": 0}


def test_placebo_deals_the_same_vectors_to_other_items(store):
    put(store, at(2), rows(*((f"item {n}", at(1), n) for n in range(4))))
    placebos = (None, Placebo("permuted", 0), Placebo("permuted", 1))
    folders = [derive_item_vectors(store, "one", at(2), placebo=one) for one in placebos]
    assert len(set(folders)) == 3
    true, placebo, other = (axes_of(open_item_vectors(folder)) for folder in folders)
    assert placebo != true
    assert sorted(placebo.values()) == sorted(other.values()) == [0, 1, 2, 3]
    assert placebo.keys() == true.keys()


def test_nothing_encoded_names_the_command(store):
    with pytest.raises(MissingTableError, match="sail-features encode"):
        derive_item_vectors(store, "one", at(2))
