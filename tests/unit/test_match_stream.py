"""Streams cut anywhere against the same rows in one table, bit by bit."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_match_kernel import (
    FEATURES,
    ITEMS,
    STEP,
    WINDOW,
    arrow,
    event_lists,
    kinds,
    row_lists,
    snapshot_lists,
    table_of,
    user_interest,
)

from sail_features import columns as c
from sail_features.match.events import event_types_of
from sail_features.match.frame import compute_match_table
from sail_features.match.similarity_counts import GRID
from sail_features.match.stream import (
    ASKED,
    EVENT,
    INTEREST,
    KIND,
    MINED,
    ORDER,
    UNCLICKED,
    WHAT,
    count_similarities,
    iter_blocks,
    iter_match_tables,
)
from sail_features.testing.oracles import Asked, Event, naive_history

TYPES = event_types_of(FEATURES)
blocks = st.integers(1, 9)


def stream_of(
    asked: pa.Table, told: pa.Table, unclicked: pa.Table, mined: pa.Table
) -> Iterator[pa.RecordBatch]:
    """Return the sorted stream in batches of three rows."""
    apart = (c.USER_ID, c.EVENT_TIMESTAMP)
    rest = mined.select([name for name in mined.column_names if name not in apart])
    parts = [
        tagged(asked.select(list(c.PAIR)), ASKED),
        tagged(told, EVENT),
        tagged(unclicked, EVENT, unclicked=True),
        tagged(mined.select(list(apart)), INTEREST).append_column(
            MINED, rest.to_struct_array() if rest.num_rows else pa.array([], pa.struct(rest.schema))
        ),
    ]
    return in_order(parts)


def in_order(parts: Sequence[pa.Table]) -> Iterator[pa.RecordBatch]:
    """Return parts of the stream sorted, in batches of three rows."""
    whole = pa.concat_tables(parts, promote_options="default")
    order = [(name, "ascending") for name in ORDER]
    return iter(whole.sort_by(order).to_batches(max_chunksize=3))


def tagged(rows: pa.Table, what: int, *, unclicked: bool = False) -> pa.Table:
    """Return rows as part of a stream."""
    count = rows.num_rows
    kind = pa.array([-1] * count, pa.int32())
    if c.EVENT_TYPE in rows.column_names:
        kind = pc.index_in(rows[c.EVENT_TYPE], pa.array(TYPES)).fill_null(-1)
        rows = rows.drop_columns(c.EVENT_TYPE)
    for name, values in (
        (WHAT, pa.array([what] * count, pa.int8())),
        (UNCLICKED, pa.array([unclicked] * count, pa.bool_())),
        (KIND, kind),
    ):
        rows = rows.append_column(name, values)
    return rows


def counting(told: Sequence[Event], unclicked: Sequence[Event]) -> list[Event]:
    """Return the feedback that counts: an unclicked one only where nothing else is told."""
    known = {event[:3] for event in told}
    return [*told, *(event for event in unclicked if event[:3] not in known)]


@given(
    rows=row_lists,
    told=event_lists,
    unclicked=event_lists,
    snapshots=snapshot_lists,
    kind=kinds,
    size=blocks,
    skipped=st.integers(0, 2),
)
def test_cuts_change_no_bit(rows, told, unclicked, snapshots, kind, size, skipped):
    window = replace(WINDOW, skip_newest=skipped)
    table = table_of(ITEMS, kind)
    category = np.array([0, 0, 1, -1, -1])
    mined = user_interest(snapshots, kind)
    batches = stream_of(arrow(rows, kind), arrow(told, kind), arrow(unclicked, kind), mined)
    parts = iter_match_tables(
        batches, table, FEATURES, window, category=category, rows_per_block=size
    )
    found = pa.concat_tables(parts).sort_by([(name, "ascending") for name in c.PAIR])
    expected = compute_match_table(
        arrow(sorted(set(rows)), kind),
        arrow(counting(told, unclicked), kind),
        table,
        FEATURES,
        window,
        category=category,
        interests=mined,
    )
    assert found.equals(expected)


@given(
    rows=row_lists,
    told=st.lists(event_lists, min_size=1, max_size=4),
    unclicked=event_lists,
    snapshots=snapshot_lists,
    kind=kinds,
    size=blocks,
)
def test_events_that_were_sorted_before_are_seen_alike(
    rows, told, unclicked, snapshots, kind, size
):
    table, none = table_of(ITEMS, kind), arrow([], kind)
    mined = user_interest(snapshots, kind)
    runs = [in_order([tagged(arrow(part, kind), EVENT)]) for part in told]
    runs.append(in_order([tagged(arrow(unclicked, kind), EVENT, unclicked=True)]))
    parts = iter_match_tables(
        stream_of(arrow(rows, kind), none, none, mined),
        table,
        FEATURES,
        WINDOW,
        runs=runs,
        rows_per_block=size,
    )
    found = pa.concat_tables(parts).sort_by([(name, "ascending") for name in c.PAIR])
    expected = compute_match_table(
        arrow(sorted(set(rows)), kind),
        arrow(counting([event for part in told for event in part], unclicked), kind),
        table,
        FEATURES,
        WINDOW,
        interests=mined,
    )
    assert found.equals(expected)


@given(rows=row_lists, told=event_lists, size=blocks)
def test_similarities_are_counted_once_for_each_liked_event_seen(rows, told, size):
    table = table_of(ITEMS)
    vectors = dict(zip(table.ids.tolist(), table.take(np.arange(len(table))), strict=True))
    none = arrow([], str)
    batches = stream_of(arrow(rows, str), arrow(told, str), none, user_interest([], str))
    counts = count_similarities(batches, table, WINDOW, rows_per_block=size)
    found = np.repeat(GRID, counts)
    expected = sorted(
        float(vectors[row.item] @ vectors[event.item])
        for row in set(rows)
        for event in naive_history(row.user, row.as_of_us, told, WINDOW)
        if event.weight > 0
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_nothing_asked_makes_no_table():
    told = arrow([Event("1", "11", STEP, 1.0, "")], str)
    none = arrow([], str)
    batches = stream_of(none, told, none, user_interest([], str))
    assert list(iter_match_tables(batches, table_of(ITEMS), FEATURES, WINDOW)) == []


def long_stream(rows: int) -> Iterator[pa.RecordBatch]:
    """Return one user's stream of rows and events in turns, made as it is read."""
    for begin in range(0, rows, 1000):
        at = np.arange(begin, begin + 1000)
        yield pa.RecordBatch.from_pydict(
            {
                c.USER_ID: ["1"] * 1000,
                c.ITEM_ID: np.take(ITEMS, at % len(ITEMS)),
                c.EVENT_TIMESTAMP: pa.array(at).cast(pa.timestamp("us", tz="UTC")),
                WHAT: np.where(at % 2, ASKED, EVENT).astype(np.int8),
                c.WEIGHT: np.ones(1000, np.float32),
            }
        )


@pytest.mark.parametrize("rows", [20_000, 200_000])
def test_memory_is_that_of_a_block(rows):
    """One user's events are a hundred times as many as a block holds, or ten times that."""
    table = table_of(ITEMS)
    seen, of_arrow, before = 0, 0, pa.total_allocated_bytes()
    tracemalloc.start()
    for block in iter_blocks(long_stream(rows), table, WINDOW, rows_per_block=2_000):
        seen += len(block.rows.user)
        of_arrow = max(of_arrow, pa.total_allocated_bytes() - before)
    _, of_numpy = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == rows // 2
    assert of_numpy < 1_000_000
    assert of_arrow < 1_000_000


def test_asked_again_in_the_next_block_is_one_row():
    row = Asked("1", "11", STEP)
    none = arrow([], str)
    batches = stream_of(arrow([row] * 7, str), none, none, user_interest([], str))
    parts = iter_match_tables(batches, table_of(ITEMS), FEATURES, WINDOW, rows_per_block=2)
    assert sum(part.num_rows for part in parts) == 1
