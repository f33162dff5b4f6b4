"""The join's SQL against a double loop that anyone can check by eye."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from point_in_time import ASKED, ROWS, Asked, Row, answer

from sail_features.feast_plugin.stores.asof_sql import ENTITIES, ViewRead, join_sql, literal
from sail_features.feast_plugin.stores.database import load_table, open_database


def join(views: list[list[Row]], asked: list[Asked], ttl: int | None, cut: bool) -> list[list[int]]:
    with open_database(threads=1) as con:
        load_table(
            con,
            pa.table(
                {
                    "row_number": range(len(asked)),
                    "asked_us": pa.array([one.at for one in asked], pa.int64()),
                    "key_0": pa.array([one.user for one in asked], pa.string()),
                    "key_1": pa.array([one.item for one in asked], pa.string()),
                }
            ),
            ENTITIES,
        )
        reads = [read(con, rows, f"source_{n}", ttl) for n, rows in enumerate(views)]
        joined = con.execute(join_sql(reads, cut_at_created=cut)).fetchall()
    assert [row[0] for row in joined] == list(range(len(asked)))
    return [list(row[1:]) for row in joined]


def read(con: duckdb.DuckDBPyConnection, rows: list[Row], name: str, ttl: int | None) -> ViewRead:
    columns = {
        "the user": pa.array([row.user for row in rows], pa.string()),
        'the "item"': pa.array([row.item for row in rows], pa.string()),
        "held": pa.array([row.held for row in rows], pa.int64()),
        "created": pa.array([row.created for row in rows], pa.int64()),
        "value; DROP TABLE entities": pa.array([row.value for row in rows], pa.int64()),
    }
    return ViewRead(
        relation=load_table(con, pa.table(columns), name),
        keys=(("the user", "key_0"), ('the "item"', "key_1")),
        held="held",
        created="created",
        features=("value; DROP TABLE entities",),
        ttl=timedelta(microseconds=ttl) if ttl is not None else None,
        known_when_held=all(row.held == row.created for row in rows),
        wide=name.endswith("0"),
    )


@settings(max_examples=100, deadline=None)
@given(
    first=ROWS,
    second=ROWS,
    asked=ASKED,
    ttl=st.sampled_from([None, 0, 1, 3]),
    cut=st.booleans(),
)
def test_each_row_gets_what_a_double_loop_finds(
    first: list[Row], second: list[Row], asked: list[Asked], ttl: int | None, cut: bool
) -> None:
    expected = [[answer(rows, one, ttl, cut) for rows in (first, second)] for one in asked]
    assert join([first, second], asked, ttl, cut) == expected


def one_user(*rows: tuple[int, int]) -> list[Row]:
    """Return rows of one pair with (held, created), numbered in their order."""
    return [Row("1", "11", held, created, value) for value, (held, created) in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "at", "ttl", "expected"),
    [
        (one_user((5, 5)), 5, None, 0),
        (one_user((5, 5)), 4, None, None),
        (one_user((5, 5), (5, 6)), 6, None, 1),
        (one_user((5, 5), (5, 7)), 6, None, 0),
        # Held later, but known before the older content was: the older is never the answer.
        (one_user((3, 9), (5, 5)), 9, None, 1),
        (one_user((3, 3), (5, 9)), 8, None, 0),
        (one_user((5, 5)), 8, 3, 0),
        (one_user((5, 5)), 9, 3, None),
        # A newer row that is too old hides no fresh one: there is none.
        (one_user((1, 1), (2, 2)), 9, 3, None),
    ],
)
def test_boundaries(rows: list[Row], at: int, ttl: int | None, expected: int | None) -> None:
    assert join([rows], [Asked("1", "11", at)], ttl, cut=True) == [[expected]]


def test_without_the_cut_created_only_breaks_ties() -> None:
    rows = one_user((5, 5), (5, 7))
    assert join([rows], [Asked("1", "11", 6)], None, cut=False) == [[1]]


def test_text_is_quoted() -> None:
    text = "it's; --"
    assert duckdb.sql("SELECT " + literal(text)).fetchone() == (text,)
