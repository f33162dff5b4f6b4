"""A candidate set that can't be matched is refused, with the reason, before Spark starts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import worlds
from worlds import AS_OF, at

from sail_features import columns as c
from sail_features.candidates import CandidateSet
from sail_features.errors import InputError, MissingTableError
from sail_features.tables import TableStore

USERS = pa.array(["2", "3"])
ITEMS = pa.array(["1", "2"])
PAIRS = pa.table({c.USER_ID: USERS, c.ITEM_ID: ITEMS})


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    store = TableStore(tmp_path / "tables")
    worlds.random_world(0).publish(store)
    return store


def timed(times: pa.Array) -> pa.Table:
    return PAIRS.append_column(c.EVENT_TIMESTAMP, times)


def test_folder_of_files_is_one_set(store, tmp_path):
    folder = tmp_path / "candidates"
    folder.mkdir()
    for number in range(2):
        pq.write_table(timed(pa.array([AS_OF, at(1)])), folder / f"part-{number}.parquet")
    (folder / "_SUCCESS").touch()
    found = CandidateSet.open(folder, store, AS_OF)
    assert [file.name for file in found.files] == ["part-0.parquet", "part-1.parquet"]
    assert found.timed
    assert found.as_input().table == str(folder)


def test_reference_changes_with_the_pairs(store, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(PAIRS, path)
    first = CandidateSet.open(path, store, AS_OF).as_input()
    pq.write_table(PAIRS.slice(1), path)
    assert CandidateSet.open(path, store, AS_OF).as_input() != first


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (PAIRS.drop_columns(c.ITEM_ID), "no column 'item_id'; it has user_id"),
        (PAIRS.set_column(0, c.USER_ID, pa.array([2, 3])), "'user_id' is int64, expected string"),
        (PAIRS.set_column(1, c.ITEM_ID, pa.array(["1", None])), "'item_id' is null in 1 rows"),
        (PAIRS.slice(2), "has no rows"),
        (timed(pa.array([1, 2])), "'event_timestamp' is int64"),
        (timed(pa.array([1, 2]).cast(pa.timestamp("us"))), "without a time zone"),
        (timed(pa.array([AS_OF, None])), "'event_timestamp' is null in 1 rows"),
        (timed(pa.array([AS_OF, at(30, 1)])), "is after --as-of 2024-03-31 in 1"),
    ],
)
def test_odd_set_is_refused(store, tmp_path, table, says):
    path = tmp_path / "odd.parquet"
    pq.write_table(table, path)
    with pytest.raises(InputError) as caught:
        CandidateSet.open(path, store, AS_OF)
    assert says in str(caught.value)
    assert "Hint:" in str(caught.value)


def test_missing_and_unreadable_files_are_named(store, tmp_path):
    (tmp_path / "text.parquet").write_text("user_id,item_id")
    for name in ("nowhere.parquet", "text.parquet"):
        with pytest.raises(InputError, match=name):
            CandidateSet.open(tmp_path / name, store, AS_OF)


def test_without_events_the_import_is_named(tmp_path):
    pq.write_table(PAIRS, tmp_path / "a.parquet")
    with pytest.raises(MissingTableError, match="sail-features import"):
        CandidateSet.open(tmp_path / "a.parquet", TableStore(tmp_path / "none"), AS_OF)
