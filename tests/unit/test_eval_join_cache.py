"""Joined rows are found again by their fingerprint, whole, and one alone is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from ranking_eval import Arm
from ranking_eval.join_cache import keep_join, load_join

ARMS = (Arm("control", ("a",), "ranker_control"), Arm("treatment", ("a", "b")))
ROWS = pa.table(
    {
        "a": pa.array([1.0, None], pa.float32()),
        "b": ["x", None],
        "event_timestamp": pa.array(
            [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2)], pa.timestamp("us", "UTC")
        ),
    }
)


def test_rows_and_arms_come_back_as_they_went_in(tmp_path):
    assert load_join(tmp_path / "joined", "one") is None
    keep_join(tmp_path / "joined", "one", ROWS, ARMS)
    rows, arms = load_join(tmp_path / "joined", "one")
    assert rows.equals(ROWS)
    assert rows.schema == ROWS.schema
    assert arms == ARMS


def test_another_fingerprint_takes_the_place_of_the_last(tmp_path):
    keep_join(tmp_path, "one", ROWS, ARMS)
    keep_join(tmp_path, "two", ROWS.slice(0, 1), ARMS[:1])
    assert load_join(tmp_path, "one") is None
    rows, arms = load_join(tmp_path, "two")
    assert (rows.num_rows, len(arms)) == (1, 1)
    assert len(list(tmp_path.iterdir())) == 1
