"""Entity rows from everything that may hold them, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sail_features.feast_plugin.stores.database import open_database
from sail_features.feast_plugin.stores.entity_frames import (
    MixedZones,
    find_timestamp,
    key_as,
    read_entities,
)
from sail_features.feast_plugin.stores.join_errors import JoinInputError

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
IDS = [2**53 + 1, 7, 2**53 + 1]
TABLE = pa.table(
    {
        "user_id": IDS,
        "event_timestamp": pa.array([NOON] * 3, pa.timestamp("us", "UTC")),
        "label": pa.array([1, None, 0], pa.int8()),
    }
)


def read(frame: object, folder: str = ".", *, mixed_zones: MixedZones = "raise") -> pa.Table:
    with open_database() as con:
        return read_entities(frame, con, folder, mixed_zones=mixed_zones)


def test_frame_table_query_and_files_are_the_same_rows(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    frame = pd.DataFrame({"user_id": IDS, "event_timestamp": [NOON] * 3})
    query = f"FROM '{tmp_path}/rows.parquet'"
    for held in (frame, TABLE, query, tmp_path / "rows.parquet", str(tmp_path)):
        rows = read(held)
        assert rows["user_id"].to_pylist() == IDS
        assert find_timestamp(rows) == "event_timestamp"
    assert read("rows.parquet", str(tmp_path)).equals(TABLE)


def test_columns_keep_their_types() -> None:
    frame = pd.DataFrame(
        {
            "event_timestamp": [NOON, NOON],
            "shelf": pd.Categorical(["a", "b"]),
            "price": pd.array([1, None], "Int64"),
            "weight": pd.Series([1, 2], dtype="float16"),
        }
    )
    assert (read(frame).to_pandas().dtypes[1:] == frame.dtypes[1:]).all()


def test_only_column_of_times_is_the_timestamp() -> None:
    assert find_timestamp(TABLE.rename_columns(["user_id", "shown_at", "label"])) == "shown_at"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [1]}, "no column 'event_timestamp', and no times among user_id"),
        ({"event_timestamp": ["2020-01-01"]}, "is string, expected timestamps"),
        ({"event_timestamp": [datetime(2020, 1, 1)]}, "without a time zone"),
        ({"event_timestamp": [NOON, None]}, "null in 1 of 2 rows"),
        ({"shown_at": [NOON], "seen_at": [NOON]}, r"2 columns of times \(shown_at, seen_at\)"),
    ],
)
def test_rows_without_a_time_are_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(JoinInputError, match=message):
        find_timestamp(read(pa.table(columns)))


@pytest.mark.parametrize(
    "other", [NOON.replace(tzinfo=None), NOON.astimezone(timezone(timedelta(hours=1)))]
)
def test_mixed_zones_are_refused(other: datetime) -> None:
    frame = pd.DataFrame({"event_timestamp": pd.Series([NOON, other], dtype=object)})
    with pytest.raises(JoinInputError, match="mixes time zones"):
        read(frame)


def test_mixed_zones_may_be_taken_as_the_moments_that_they_are() -> None:
    later = NOON.astimezone(timezone(timedelta(hours=1))) + timedelta(minutes=1)
    times = pd.Series([NOON, later, pd.NaT], dtype=object)
    frame = pd.DataFrame({"user_id": ["a", "b", None], "event_timestamp": times})
    rows = read(frame, mixed_zones="utc")
    assert rows["event_timestamp"].to_pylist() == [NOON, later, None]
    assert rows["event_timestamp"].type.tz == "UTC"
    assert rows["user_id"].to_pylist() == ["a", "b", None]
    assert frame["event_timestamp"][1].tzinfo == later.tzinfo


@pytest.mark.parametrize("other", [NOON.replace(tzinfo=None), "2020-01-01"])
def test_times_without_a_zone_beside_others_are_always_refused(other: object) -> None:
    times = pd.Series([NOON, other], dtype=object)
    with pytest.raises(JoinInputError, match="mixes time zones"):
        read(pd.DataFrame({"event_timestamp": times}), mixed_zones="utc")


def test_missing_times_are_no_zone_of_their_own() -> None:
    times = pd.Series([NOON, pd.NaT], dtype=object)
    rows = read(pd.DataFrame({"event_timestamp": times}))
    assert rows["event_timestamp"].to_pylist() == [NOON, None]


@pytest.mark.parametrize("frame", [None, [1, 2], 3])
def test_anything_else_is_refused(frame: object) -> None:
    with pytest.raises(JoinInputError, match="expected rows to join features to"):
        read(frame)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JoinInputError, match="no Parquet file at"):
        read("rows.parquet", str(tmp_path))


def compared_as(values: list[Any], got: pa.DataType, wanted: pa.DataType) -> list[Any]:
    ids = pa.chunked_array([pa.array(values, got)])
    return key_as(ids, wanted, view="view", column="user_id").to_pylist()


def test_whole_floats_are_the_integers_that_pandas_made_them_of() -> None:
    assert compared_as([1.0, None, float("nan")], pa.float64(), pa.int64()) == [1, None, None]


@pytest.mark.parametrize(
    ("values", "got", "wanted"),
    [
        (["1"], pa.string(), pa.int64()),
        ([1], pa.int64(), pa.string()),
        ([1.5], pa.float64(), pa.int64()),
        ([2.0**53], pa.float64(), pa.int64()),
    ],
)
def test_ids_that_could_match_wrongly_are_refused(
    values: list[Any], got: pa.DataType, wanted: pa.DataType
) -> None:
    with pytest.raises(JoinInputError, match="in the source of view 'view'"):
        compared_as(values, got, wanted)
