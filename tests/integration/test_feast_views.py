"""What the factories declare, and which tables they refuse."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from feast.types import Array, Bytes, Float32, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType
from feast_workspace import at, declare, pairs, write, write_pairs, write_world

from sail_features import columns as c
from sail_features.errors import InputError, MissingTableError
from sail_features.feast_plugin import (
    item_embedding_view,
    item_entity,
    match_control_view,
    match_view,
    user_entity,
    user_history_view,
)
from sail_features.feast_plugin.fields import feast_type
from sail_features.feast_plugin.versions import version_tags
from sail_features.feast_plugin.views import Control
from sail_features.tables import TableStore


@pytest.fixture
def tables(tmp_path: Path) -> TableStore:
    tables = TableStore(tmp_path)
    write_world(tables, placebo=False)
    return tables


def types_of(view: object) -> dict[str, object]:
    return {field.name: field.dtype for field in view.features}


def test_fields_are_the_columns_beyond_keys_and_stamps(tables: TableStore) -> None:
    view = match_view(tables, user_entity(tables), item_entity(tables))
    assert types_of(view) == {
        c.FEATURE_TIME: UnixTimestamp,
        c.FEATURE_SET_ID: String,
        c.ENCODER_ID: String,
        "similarity": Float32,
    }


def test_embedding_is_bytes(tables: TableStore) -> None:
    view = item_embedding_view(tables, item_entity(tables))
    assert types_of(view) == {
        c.EMBEDDING: Bytes,
        c.DIM: Int32,
        c.ENCODER_ID: String,
        c.CONTENT_HASH: String,
    }


@pytest.mark.parametrize(("ids", "id_type"), [(str, String), (int, Int64)])
def test_ids_keep_their_type(tmp_path: Path, ids: type, id_type: object) -> None:
    tables = TableStore(tmp_path)
    write_world(tables, ids)
    user = user_entity(tables)
    assert user.value_type == (ValueType.INT64 if ids is int else ValueType.STRING)
    assert types_of(user_history_view(tables, user)) == {
        c.HISTORY_ITEM_IDS: Array(id_type),
        c.HISTORY_TIMES: Array(Int64),
        c.HISTORY_WEIGHTS: Array(Float32),
    }


def test_tags_are_the_lineage_in_words(tables: TableStore) -> None:
    _, _, embedding, history, _, match, _ = declare(tables)
    written_by = version_tags()
    lineage = {c.ENCODER_ID: "hash-v1", c.DIM: "2", "dtype": "float16"}
    assert embedding.tags == lineage | written_by
    assert history.tags == {"window": "365 days, 100 events"} | written_by
    assert match.tags == {c.FEATURE_SET_ID: "set-1"} | written_by
    assert all(view.owner and view.description for view in (embedding, history, match))


@pytest.mark.parametrize("control", ["placebo", "random", "lagged"])
def test_a_control_arm_is_declared_only_where_it_was_computed(
    tables: TableStore, control: Control
) -> None:
    user, item = user_entity(tables), item_entity(tables)
    assert match_control_view(control, tables, user, item) is None
    write_pairs(tables, f"user_item_match_{control}")
    view = match_control_view(control, tables, user, item)
    assert view is not None
    assert view.name == f"user_item_match_{control}"


def test_missing_table_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingTableError, match="run `sail-features encode` first"):
        item_entity(TableStore(tmp_path))


def test_superseded_pairs_are_refused(tables: TableStore) -> None:
    newer = pairs(["1"], ["11"], [at(5)], similarity=[0.9])
    write(tables, "user_item_match", newer, as_of=at(48))
    with pytest.raises(InputError, match=r"as_of=2020-01-02: is superseded by 2020-01-03"):
        match_view(tables, user_entity(tables), item_entity(tables))


def test_partitions_with_other_columns_are_refused(tables: TableStore) -> None:
    newer = pairs(["1"], ["11"], [at(30)], distance=[0.9])
    write(tables, "user_item_match", newer, as_of=at(48), since=at(24))
    with pytest.raises(InputError, match="columns differ"):
        match_view(tables, user_entity(tables), item_entity(tables))


def test_partition_without_rows_is_no_hindrance(tables: TableStore) -> None:
    with tables.replace_partition("user_item_match", at(48), since=at(24), config={}):
        pass
    view = match_view(tables, user_entity(tables), item_entity(tables))
    assert "similarity" in types_of(view)


def test_vectors_of_two_encoders_are_refused(tables: TableStore) -> None:
    item = item_entity(tables)
    columns = tables.read("item_embedding").drop_columns(["available_at", "created"])
    write(
        tables,
        "item_embedding",
        {name: columns[name] for name in columns.column_names},
        as_of=at(48),
        since=at(24),
        lineage={c.ENCODER_ID: "hash-v2"},
    )
    with pytest.raises(InputError, match="2 encoders: hash-v1, hash-v2"):
        item_embedding_view(tables, item)


@pytest.mark.parametrize(
    ("features", "message"),
    [({"price_y": [1.0]}, "would be lost"), ({"odd": [{"a": 1}]}, "expected a number")],
)
def test_column_that_can_be_no_feature_is_refused(
    tmp_path: Path, features: dict[str, list[object]], message: str
) -> None:
    tables = TableStore(tmp_path)
    write_world(tables, placebo=False)
    write(tables, "user_item_match", pairs(["1"], ["11"], [at(5)], **features))
    with pytest.raises(InputError, match=message):
        match_view(tables, user_entity(tables), item_entity(tables))


def test_text_is_text_however_long_its_offsets() -> None:
    assert feast_type(pa.large_string()) == String
    assert feast_type(pa.list_(pa.string())) == Array(String)
    assert feast_type(pa.list_(pa.date32())) is None
