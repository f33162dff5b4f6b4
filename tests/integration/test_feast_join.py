"""Historical joins: a row of features reaches its own impression, and no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore
from feast_workspace import at, build_store, join, pairs, write

from sail_features import columns as c
from sail_features.tables import TableStore

SIMILARITY = "user_item_match__similarity"


@pytest.fixture(scope="module", params=[str, int], ids=["string ids", "integer ids"])
def ids(request: pytest.FixtureRequest) -> type:
    return request.param


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, ids: type) -> FeatureStore:
    return build_store(tmp_path_factory.mktemp("join"), ids)


def test_each_impression_gets_its_own_row(store: FeatureStore, ids: type) -> None:
    one, eleven = ids("1"), ids("11")
    joined = join(store, [(one, eleven, at(6)), (one, eleven, at(5))])
    assert joined[SIMILARITY].tolist() == pytest.approx([0.3, 0.1])
    assert joined["user_item_baseline__clicks"].tolist() == [3.0, 1.0]
    assert joined["user_item_baseline__category"].tolist() == ["mug", "tea"]


def test_ids_that_join_to_the_same_text_are_not_confused(store: FeatureStore, ids: type) -> None:
    one, eleven = ids("1"), ids("11")
    joined = join(store, [(one, eleven, at(5)), (eleven, one, at(5))])
    assert joined[SIMILARITY].tolist() == pytest.approx([0.1, 0.2])


def test_row_is_not_seen_before_or_after_its_moment(store: FeatureStore, ids: type) -> None:
    one, eleven = ids("1"), ids("11")
    joined = join(store, [(one, eleven, at(5, -1)), (one, eleven, at(5, 2)), (one, eleven, at(7))])
    assert joined[SIMILARITY].isna().all()
    assert joined[f"user_item_match__{c.FEATURE_TIME}"].isna().all()


def test_feature_time_and_lineage_come_with_the_features(store: FeatureStore, ids: type) -> None:
    joined = join(store, [(ids("1"), ids("11"), at(5))])
    assert joined[f"user_item_match__{c.FEATURE_TIME}"][0] == at(5 - 1 / 60)
    assert joined[f"user_item_match__{c.ENCODER_ID}"][0] == "hash-v1"
    assert joined[f"user_item_baseline__{c.FEATURE_SET_ID}"][0] == "set-1"


def test_no_row_is_lost_doubled_or_exchanged(store: FeatureStore, ids: type) -> None:
    """Unknown users and repeated impressions too; the row number restores the order."""
    shown = [
        (ids("1"), ids("11"), at(5)),
        (ids("9"), ids("1"), at(5)),
        (ids("11"), ids("1"), at(5)),
    ]
    rows = [shown[number] for number in np.random.default_rng(0).integers(0, 3, 500)]
    joined = join(store, rows)
    assert list(joined[[c.USER_ID, c.ITEM_ID]].itertuples(index=False, name=None)) == [
        (user, item) for user, item, _ in rows
    ]
    expected = {shown[0]: 0.1, shown[1]: np.nan, shown[2]: 0.2}
    np.testing.assert_allclose(joined[SIMILARITY], [expected[row] for row in rows], rtol=1e-6)


def test_row_known_only_after_the_impression_is_not_seen(tmp_path: Path) -> None:
    store = build_store(tmp_path)
    late = pairs(["1", "1"], ["11", "12"], [at(5), at(5)], similarity=[0.1, 0.2])
    late[c.AVAILABLE_AT] = [at(5), at(5, 1)]
    write(TableStore(tmp_path / "build" / "tables"), "user_item_match", late)
    joined = join(store, [("1", "11", at(5)), ("1", "12", at(5))])
    np.testing.assert_allclose(joined[SIMILARITY], [0.1, np.nan], rtol=1e-6)


def test_partition_written_after_apply_is_seen(tmp_path: Path) -> None:
    store = build_store(tmp_path)
    tables = TableStore(tmp_path / "build" / "tables")
    more = pairs(["7"], ["8"], [at(30)], similarity=[0.7])
    write(tables, "user_item_match", more, as_of=at(48), since=at(24))
    joined = join(store, [("7", "8", at(30)), ("1", "11", at(5))])
    assert joined[SIMILARITY].tolist() == pytest.approx([0.7, 0.1])


def test_newest_embedding_known_at_the_time_is_joined(store: FeatureStore, ids: type) -> None:
    entities = pd.DataFrame({c.ITEM_ID: [ids("1"), ids("11")], c.EVENT_TIMESTAMP: [at(10), at(1)]})
    joined = store.get_historical_features(entities, ["item_embedding:embedding"]).to_df()
    vectors = dict(zip(joined[c.ITEM_ID], joined[c.EMBEDDING], strict=True))
    assert np.frombuffer(vectors[ids("1")], "<f2").tolist() == [1, 0]
    assert vectors[ids("11")] is None
