"""Baseline features of Arrow tables: what a Spark task and a notebook both call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.baseline.features import (
    BaselineResult,
    Events,
    Rows,
    compute_item_part,
    compute_user_part,
)
from sail_features.config import BaselineConfig
from sail_features.history import codes_of, ids_of, times_of, us_of

ITEM_TIME: Final = "item_time"
NEWEST: Final = "newest"
Part = Callable[[Rows, Events, BaselineConfig], BaselineResult]


def compute_user_table(rows: pa.Table, feedback: pa.Table, config: BaselineConfig) -> pa.Table:
    """Compute the features of each row's user, and of the user with the item's category.

    Parameters
    ----------
    rows : user_id, item_id, event_timestamp (the moment the row is as of), category,
        price, item_time.
    feedback : user_id, item_id, event_timestamp, weight, category, price of all
        events of the rows' users.

    Returns
    -------
    Table, sorted by user, item and moment: these three, the float32 columns of
    `sail_features.baseline.features.USER_COLUMNS`, and ``newest``: the time of the
    newest event used, null where there was none.
    """
    return _compute(rows, feedback, config, compute_user_part)


def compute_item_table(rows: pa.Table, feedback: pa.Table, config: BaselineConfig) -> pa.Table:
    """Compute the features of each row's item from all users' events on it.

    The same tables as `compute_user_table`, with all events of the rows' items.
    """
    return _compute(rows, feedback, config, compute_item_part)


def _compute(rows: pa.Table, feedback: pa.Table, config: BaselineConfig, part: Part) -> pa.Table:
    rows = rows.sort_by([(name, "ascending") for name in c.PAIR])
    user, event_user = codes_of(ids_of(rows[c.USER_ID]), ids_of(feedback[c.USER_ID]))
    item, event_item = codes_of(ids_of(rows[c.ITEM_ID]), ids_of(feedback[c.ITEM_ID]))
    category, event_category = _categories(rows, feedback)
    result = part(
        Rows(
            user,
            item,
            category,
            us_of(rows[c.EVENT_TIMESTAMP]),
            _prices(rows),
            us_of(rows[ITEM_TIME]),
        ),
        Events(
            event_user,
            event_item,
            event_category,
            us_of(feedback[c.EVENT_TIMESTAMP]),
            _floats(feedback[c.WEIGHT]),
            _prices(feedback),
        ),
        config,
    )
    table = rows.select(list(c.PAIR))
    for name, values in result.columns.items():
        table = table.append_column(name, pa.array(values, pa.float32(), from_pandas=True))
    return table.append_column(NEWEST, times_of(result.newest_us))


def _categories(rows: pa.Table, feedback: pa.Table) -> list[NDArray[np.int64]]:
    """Code the categories of both tables alike, -1 where unknown."""
    columns = [table[c.CATEGORY].cast(pa.string()) for table in (rows, feedback)]
    known = [column.is_valid().to_numpy() for column in columns]
    codes = codes_of(*(ids_of(column.fill_null("")) for column in columns))
    return [np.where(valid, code, -1) for valid, code in zip(known, codes, strict=True)]


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    values: NDArray[np.float32] = column.cast(pa.float32()).to_numpy()
    return values


def _prices(table: pa.Table) -> NDArray[np.float32]:
    """Return the prices, NaN where there is none, a negative or an infinite one."""
    price = _floats(table[c.PRICE])
    return np.where(np.isfinite(price) & (price >= 0), price, np.float32(np.nan))
