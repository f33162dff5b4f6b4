"""What happens to a row that is merely odd, by name.

Every policy returns the table and the number of rows that it touched; the names
below are what a data set's ``dropped`` and a job's manifest count them under.
A row that is wrong, not odd, is an error instead (`sail_features.schemas`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.schemas import TIMESTAMP

REPEATED_ITEM: Final = "repeated_item"
REPEATED_IMPRESSION: Final = "repeated_impression"
REPEATED_RATING: Final = "repeated_rating"
ITEM_TIME_FROM_LOG_START: Final = "item_time_from_log_start"
ITEM_TIME_FROM_FIRST_USE: Final = "item_time_from_first_use"

_BEFORE: Final = pa.scalar(timedelta(seconds=1), pa.duration("us"))


def drop_odd_rows(
    table: pa.Table, items: pa.Table, *, row: str, where: str
) -> tuple[pa.Table, dict[str, int]]:
    """Drop the rows without a time, then those whose item is not in the catalogue.

    Parameters
    ----------
    table : events or impressions.
    items : the catalogue.
    row : what a row is (``event``, ``impression``): the policies are named
        ``<row>_without_time`` and ``<row>_of_unknown_item``.
    where : the table's name, for the message.

    Raises
    ------
    InputError
        A policy left no row.
    """
    timed, timeless = _keep(
        table, pc.is_valid(table[c.EVENT_TIMESTAMP]), where=where, policy=f"{row}_without_time"
    )
    known = pc.is_in(timed[c.ITEM_ID], value_set=items[c.ITEM_ID])
    left, strangers = _keep(timed, known, where=where, policy=f"{row}_of_unknown_item")
    return left, {f"{row}_without_time": timeless, f"{row}_of_unknown_item": strangers}


def _keep(
    table: pa.Table, kept: pa.ChunkedArray, *, where: str, policy: str
) -> tuple[pa.Table, int]:
    left = table.filter(kept)
    if table.num_rows and not left.num_rows:
        raise InputError.all_dropped(where, policy, table.num_rows)
    return left, table.num_rows - left.num_rows


def drop_repeats(table: pa.Table, key: tuple[str, ...]) -> tuple[pa.Table, int]:
    """Keep the first row of each ``key``, in the order of the table."""
    rows = pa.array(np.arange(table.num_rows))
    numbered = table.select(list(key)).append_column("_row", rows)
    first = numbered.group_by(list(key)).aggregate([("_row", "min")])["_row_min"]
    kept = np.sort(first.to_numpy())
    return table.take(kept), table.num_rows - len(kept)


def settle_item_times(
    items: pa.Table, events: pa.Table, impressions: pa.Table
) -> tuple[pa.Table, dict[str, int]]:
    """Decide when each item's content became known.

    An item without a time (null, or no such column) gets the start of the log,
    less one second. A stated time at or after the item's first event or
    impression is put one second before that: who met the item has seen its
    content.

    Returns
    -------
    tuple
        The items with ``event_timestamp`` filled, and the rows that each of the
        two policies touched.

    Notes
    -----
    Items put at the log's start are never cold, and an item that was in truth
    added later is known too early. Nobody meets it before its first event, so no
    feature of an impression can tell the difference, save the item's age.
    """
    first_use, log_start = _first_uses(items, events, impressions)
    stated = _stated_times(items)
    settled = pc.fill_null(stated, pc.subtract(log_start, _BEFORE))
    late = pc.fill_null(pc.greater_equal(settled, first_use), False)
    counts = {
        ITEM_TIME_FROM_LOG_START: stated.null_count,
        ITEM_TIME_FROM_FIRST_USE: int(pc.sum(late).as_py() or 0),
    }
    times = pc.if_else(late, pc.subtract(first_use, _BEFORE), settled)
    others = [name for name in items.column_names if name != c.EVENT_TIMESTAMP]
    return items.select(others).append_column(c.EVENT_TIMESTAMP, times), counts


def _stated_times(items: pa.Table) -> pa.ChunkedArray:
    if c.EVENT_TIMESTAMP in items.column_names:
        return items[c.EVENT_TIMESTAMP].cast(TIMESTAMP)
    return pa.chunked_array([pa.nulls(items.num_rows, TIMESTAMP)])


def _first_uses(
    items: pa.Table, events: pa.Table, impressions: pa.Table
) -> tuple[pa.ChunkedArray, pa.Scalar]:
    """Return each item's first event or impression (null: none), and the log's first."""
    wanted = [c.ITEM_ID, c.EVENT_TIMESTAMP]
    uses = pa.concat_tables([events.select(wanted), impressions.select(wanted)])
    first = uses.group_by(c.ITEM_ID).aggregate([(c.EVENT_TIMESTAMP, "min")])
    row = pc.index_in(items[c.ITEM_ID], value_set=first[c.ITEM_ID])
    return first[f"{c.EVENT_TIMESTAMP}_min"].take(row), pc.min(uses[c.EVENT_TIMESTAMP])
