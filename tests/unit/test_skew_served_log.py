"""Logs are read as Feast writes them and as people do; others are refused with a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sail_features.skew.served_log import LogError, ServedLog, read_served_log

UTC_US = pa.timestamp("us", "UTC")


def write(folder: Path, columns: dict[str, Any]) -> Path:
    path = folder / "served.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def seconds(log: ServedLog) -> list[float]:
    return [time.timestamp() for time in log.times.to_pylist()]


def test_time_is_the_requests_and_else_the_logs(tmp_path: Path) -> None:
    stamps = pa.array([9_000_000, 9_000_000], UTC_US)
    path = write(tmp_path, {"requested_at": [1_000_000, None], "__log_timestamp": stamps})
    assert seconds(read_served_log(path)) == [1, 9]


def test_rows_of_a_period_are_taken_with_its_start_and_without_its_end(tmp_path: Path) -> None:
    path = write(tmp_path, {"requested_at": [0, 1_000_000, 2_000_000]})
    since, until = (datetime.fromtimestamp(second, UTC) for second in (1, 2))
    log = read_served_log(path, since=since, until=until)
    assert (seconds(log), log.logged) == ([1], 1)


def test_sample_is_drawn_again_by_its_seed_and_keeps_the_order(tmp_path: Path) -> None:
    path = write(tmp_path, {"requested_at": list(range(1_000))})
    logs = [read_served_log(path, sample=10, seed=seed) for seed in (0, 0, 1)]
    drawn = [log.rows["requested_at"].to_pylist() for log in logs]
    assert drawn[0] == drawn[1] == sorted(drawn[0])
    assert drawn[0] != drawn[2]
    assert (len(drawn[0]), logs[0].logged) == (10, 1_000)


def test_folder_partitioned_by_day_is_one_log(tmp_path: Path) -> None:
    for day in ("2024-01-01", "2024-01-02"):
        folder = tmp_path / "log" / f"__log_date={day}"
        folder.mkdir(parents=True)
        write(folder, {"requested_at": [1]})
    assert read_served_log(tmp_path / "log").logged == 2


def test_feature_is_found_by_its_full_name_or_by_its_own_if_no_other_has_it(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, {"requested_at": [1], "a__x": [1], "y": [1], "z": [1]})
    log, every = read_served_log(path), ["a__x", "a__y", "a__z", "b__z"]
    assert [log.column_of(name, every) for name in every] == ["a__x", "y", None, None]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"a__x": [1]}, "no time of the requests"),
        ({"requested_at": ["2024-01-01"]}, "expected timestamps with a time zone"),
        ({"event_timestamp": pa.array([1], pa.timestamp("us"))}, "with a time zone"),
        ({"requested_at": pa.array([1, None], pa.int64())}, "1 rows have no time"),
        ({"requested_at": pa.array([], pa.int64())}, "no row from the beginning to the end"),
    ],
    ids=["none", "text", "no zone", "null", "empty"],
)
def test_log_without_usable_times_is_refused(
    tmp_path: Path, columns: dict[str, Any], says: str
) -> None:
    with pytest.raises(LogError, match=says):
        read_served_log(write(tmp_path, columns))


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "served.parquet").write_text("user_id\n1\n")
    for path in (tmp_path / "served.parquet", tmp_path / "nowhere"):
        with pytest.raises(LogError, match="can't be read"):
            read_served_log(path)
