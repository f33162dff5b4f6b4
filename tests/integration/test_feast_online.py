"""What the online store returns is what the tables hold: SQLite by default, and Redis."""

from __future__ import annotations

from pathlib import Path

import pytest
from feast import FeatureStore
from feast_workspace import at, build_store, vector_bytes

from sail_features import columns as c
from sail_features.feast_plugin import materialize

HISTORY = ["user_history:history_item_ids", "user_history:history_times"]


@pytest.fixture(scope="module", params=[str, int], ids=["string ids", "integer ids"])
def ids(request: pytest.FixtureRequest) -> type:
    return request.param


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ids: type
) -> FeatureStore:
    """Return a materialised store; Redis by configuration alone, a database of its own each."""
    online_store = None
    if request.param == "redis":
        address = f"127.0.0.1:{request.getfixturevalue('redis_port')},db={[str, int].index(ids)}"
        online_store = {"type": "redis", "connection_string": address}
    store = build_store(tmp_path_factory.mktemp("online"), ids, online_store=online_store)
    materialize(store, at(3))
    return store


def test_embedding_bytes_come_back_unchanged(store: FeatureStore, ids: type) -> None:
    found = store.get_online_features(
        ["item_embedding:embedding", "item_embedding:dim", "item_embedding:encoder_id"],
        [{c.ITEM_ID: ids("1")}, {c.ITEM_ID: ids("11")}, {c.ITEM_ID: ids("404")}],
    ).to_dict()
    assert found[c.EMBEDDING] == [vector_bytes(1, 0), vector_bytes(0.6, 0.8), None]
    assert found[c.DIM] == [2, 2, None]
    assert found[c.ENCODER_ID] == ["hash-v1", "hash-v1", None]


def test_history_comes_back_in_order(store: FeatureStore, ids: type) -> None:
    found = store.get_online_features(
        [*HISTORY, "user_history:history_weights"], [{c.USER_ID: ids("1")}]
    ).to_dict()
    assert found[c.HISTORY_ITEM_IDS] == [[ids("11"), ids("1")]]
    assert found[c.HISTORY_TIMES] == [[1, 2]]
    assert found[c.HISTORY_WEIGHTS] == [[1.0, -0.5]]


def test_empty_history_comes_back_empty(store: FeatureStore, ids: type) -> None:
    found = store.get_online_features(HISTORY, [{c.USER_ID: ids("11")}]).to_dict()
    assert found[c.HISTORY_ITEM_IDS] == [[]]
    assert found[c.HISTORY_TIMES] == [[]]


def test_row_after_as_of_is_not_materialised(tmp_path: Path) -> None:
    store = build_store(tmp_path)
    materialize(store, at(1))
    found = store.get_online_features(
        ["item_embedding:dim"], [{c.ITEM_ID: "1"}, {c.ITEM_ID: "11"}]
    ).to_dict()
    assert found[c.DIM] == [2, None]
