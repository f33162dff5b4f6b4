"""A server's own item vectors: the newest ones, for as long as they can be opened."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from worlds import CONFIG, at

from sail_features import columns as c
from sail_features.embeddings import normalise, pack_column
from sail_features.errors import ConfigError
from sail_features.feast_plugin.match_definition import MatchDefinition
from sail_features.feast_plugin.served_items import LocalItems, OnlineItems, open_items
from sail_features.schemas import ITEM_EMBEDDING, TIMESTAMP, conform
from sail_features.tables import TableStore

ENCODER = "hash-v1-8"


def write_vectors(
    tables: TableStore, ids: list[str], as_of: datetime, encoder: str = ENCODER
) -> None:
    """Write one partition with a vector an item."""
    vectors = normalise(np.random.default_rng(len(ids)).normal(size=(len(ids), 8)))
    times = pa.array([at(0)] * len(ids), TIMESTAMP)
    stamps = dict.fromkeys((c.EVENT_TIMESTAMP, c.AVAILABLE_AT, c.CREATED), times)
    columns = {c.ITEM_ID: ids, c.EMBEDDING: pack_column(vectors), c.DIM: [8] * len(ids)}
    lineage = {c.ENCODER_ID: [encoder] * len(ids), c.CONTENT_HASH: ids}
    with tables.replace_partition("item_embedding", as_of, config={}) as partition:
        partition.lineage.update(encoder_id=encoder)
        partition.write(conform(pa.table({**columns, **lineage, **stamps}), ITEM_EMBEDDING))


def define(root: Path, *, categories: bool = False) -> MatchDefinition:
    return MatchDefinition(
        tables=root,
        encoder_id=ENCODER,
        feature_set_id="any",
        history=CONFIG.history,
        match=CONFIG.match,
        edges=None,
        categories=categories,
        interest_dim=None,
    )


@pytest.fixture
def tables(tmp_path: Path) -> TableStore:
    tables = TableStore(tmp_path / "tables")
    write_vectors(tables, ["a", "b"], at(1))
    return tables


def test_partition_written_later_is_seen(tables: TableStore) -> None:
    items = open_items(define(tables.root))
    assert items.of(["a"]).table.ids.tolist() == ["a", "b"]
    write_vectors(tables, ["a", "b", "c"], at(2))
    assert items.of(["a"]).table.ids.tolist() == ["a", "b", "c"]


def test_unchanged_tables_are_not_opened_again(tables: TableStore) -> None:
    items = open_items(define(tables.root))
    assert items.of(["a"]) is items.of(["b"])


def test_old_vectors_stay_when_another_encoder_takes_over(
    tables: TableStore, caplog: pytest.LogCaptureFixture
) -> None:
    items = open_items(define(tables.root))
    before = items.of([])
    write_vectors(tables, ["a", "b"], at(2), encoder="another")
    assert items.of([]) is before
    assert "item vectors stay those of before" in caplog.text


def test_requests_go_on_with_the_old_while_the_new_are_opened(tables: TableStore) -> None:
    items = open_items(define(tables.root))
    assert isinstance(items, LocalItems)
    before = items.of([])
    write_vectors(tables, ["a", "b", "c"], at(2))
    with items._opening:  # another request is at it
        assert items.of([]) is before
    assert len(items.of([]).table) == 3


def test_sail_config_names_the_tables_of_this_machine(
    tables: TableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sail.yaml").write_text("workspace: .\n", encoding="utf-8")
    monkeypatch.setenv("SAIL_CONFIG", str(tmp_path / "sail.yaml"))
    assert isinstance(open_items(define(tmp_path / "elsewhere")), LocalItems)


def test_without_tables_the_online_store_is_asked(tmp_path: Path) -> None:
    assert isinstance(open_items(define(tmp_path)), OnlineItems)


def test_without_tables_there_are_no_categories(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the features need the items' categories"):
        open_items(define(tmp_path, categories=True))
