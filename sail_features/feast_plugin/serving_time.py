"""How long the match features of one request take, measured on the users that there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sail_features import columns as c
from sail_features.errors import ConfigError, InputError
from sail_features.feast_plugin.match_definition import MatchDefinition
from sail_features.feast_plugin.match_server import (
    HISTORY,
    INTERESTS,
    REQUESTED_AT,
    MatchServer,
    Request,
)
from sail_features.history import ids_of, to_us
from sail_features.newest import newest_by_key
from sail_features.schemas import USER_HISTORY, USER_INTEREST
from sail_features.tables import TableStore

USERS: Final = 50
ITEMS_PER_REQUEST: Final = 100


def measure_serving(tables: TableStore, alone: Sequence[str] = ()) -> dict[str, float]:
    """Return the milliseconds of a request with all match features, and with some alone.

    The key ``""`` is all of them at once, the others are the names ``alone``. A request is one
    user of the newest ``user_history`` with 100 items, at the end of that history. What is timed
    is the CPU of the on-demand view's function; reading from the online store and the web server
    come on top, and are the same for all.

    Returns
    -------
    Medians over 50 users; empty where the newest match can't be served (see
    `MatchDefinition.of_newest`), or nobody's history is there.
    """
    try:
        definition = MatchDefinition.of_newest(tables)
    except (ConfigError, InputError):
        return {}
    if definition is None or not tables.manifests(USER_HISTORY.name):
        return {}
    requests = _draw_requests(tables, definition)
    if not requests:
        return {}
    single = {one.name: (one,) for one in definition.features if one.name in alone}
    chosen = {"": definition.features, **single}
    servers = {name: MatchServer(definition, features) for name, features in chosen.items()}
    # Turn by turn, so that whatever else the machine does slows all of them alike.
    spent = [[_time_ms(server, request) for server in servers.values()] for request in requests]
    return dict(zip(servers, np.median(spent, axis=0).tolist(), strict=True))


def _draw_requests(tables: TableStore, definition: MatchDefinition) -> list[Request]:
    """Return requests of random users, for random items of everybody's histories."""
    rng = np.random.default_rng(0)
    files = [pq.ParquetFile(path) for path in tables.files(tables.covering(USER_HISTORY.name))]
    filled = [file for file in files if file.num_row_groups]
    if not filled:
        return []
    histories = newest_by_key(filled[-1].read_row_group(0), c.USER_ID)
    histories = histories.take(pa.array(rng.permutation(len(histories))[:USERS]))
    shown = np.unique(ids_of(pc.list_flatten(histories[c.HISTORY_ITEM_IDS])))
    mined = _interests_of(tables, histories[c.USER_ID]) if definition.interest_dim else {}

    def ask(row: dict[str, Any]) -> Request:
        one = {c.USER_ID: row[c.USER_ID], REQUESTED_AT: to_us(row[c.EVENT_TIMESTAMP])}
        one |= {name: row[name] for name in HISTORY}
        one |= {name: mined.get(row[c.USER_ID], {}).get(name) for name in INTERESTS}
        items = rng.choice(shown, ITEMS_PER_REQUEST).tolist()
        return {c.ITEM_ID: items, **{n: [value] * len(items) for n, value in one.items()}}

    return [ask(row) for row in histories.to_pylist() if row[c.HISTORY_ITEM_IDS]]


def _interests_of(tables: TableStore, users: pa.ChunkedArray) -> dict[Any, dict[str, Any]]:
    chosen = pc.field(c.USER_ID).isin(users.combine_chunks())
    files = tables.files(tables.covering(USER_INTEREST.name))
    parts = [pq.read_table(path, filters=chosen) for path in files]
    rows = newest_by_key(pa.concat_tables(parts, promote_options="default"), c.USER_ID)
    return {row[c.USER_ID]: row for row in rows.to_pylist()}


def _time_ms(server: MatchServer, request: Request) -> float:
    began = time.thread_time()
    server.answer(request)
    return 1e3 * (time.thread_time() - began)
