"""The world of `match_world` as tables for the match job, in any multiple of a million rows.

A multiple is the same world over again with other users: rows, histories and the
popularity of items stay as skewed as they were.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.match_world import WINDOW, World, make_world
from sail_features import columns as c
from sail_features.config import EncoderConfig, HistoryConfig, SailConfig, SparkConfig
from sail_features.embeddings import pack_column
from sail_features.encoders.catalogue import build_encoder
from sail_features.history import US_PER_DAY, times_of
from sail_features.tables import TableStore

NIGHT: Final = datetime(1970, 3, 12, tzinfo=UTC)
"""Later than the sixty days from 1970 that the world lasts."""
BASE: Final = 1_000_000
HEAVY_EVENTS: Final = 1_000_000
HEAVY_ROWS: Final = 100_000


def config_of(dim: int, spark: SparkConfig) -> SailConfig:
    """Return settings with the window of `match_world`; the encoder is only a name here."""
    return SailConfig(
        encoder=EncoderConfig(kind="hash", dim=dim),
        history=HistoryConfig(
            lookback_days=WINDOW.lookback / timedelta(days=1), max_events=WINDOW.max_events
        ),
        spark=spark,
    )


@lru_cache(maxsize=1)
def base_world(dim: int, rows: int) -> World:
    """Return the world that is repeated; making it takes longer than matching it."""
    return make_world(dim, rows)


def put_world(store: TableStore, dim: int, rows: int, *, heavy: bool = False) -> World:
    """Publish a world of so many rows; return the part of it that is repeated.

    ``heavy`` adds one user with `HEAVY_EVENTS` events and `HEAVY_ROWS` rows.
    """
    base = min(rows, BASE)
    world = base_world(dim, base)
    _put_items(store, world, build_encoder(config_of(dim, SparkConfig()).encoder).encoder_id)
    asked, told = _rows_table(world), _events_table(world)
    copies = range(rows // base)
    users = base // 25
    put(store, "impressions", [_other_users(asked, users * copy) for copy in copies])
    parts = [_other_users(told, users * copy) for copy in copies]
    put(store, "events", [*parts, *([_heavy(world, -1)] if heavy else [])])
    if heavy:
        put(store, "impressions", [asked, _heavy_rows(world, -1)])
    return world


def put(store: TableStore, name: str, parts: list[pa.Table]) -> None:
    """Publish one table, a file a part; impressions count as sampled, so none is feedback."""
    with store.replace_partition(name, NIGHT, config={}) as partition:
        for number, part in enumerate(parts):
            pq.write_table(part, partition.folder / f"part-{number:05d}.parquet")
        partition.lineage.update(negatives="popularity")


def _put_items(store: TableStore, world: World, encoder_id: str) -> None:
    table, count = world.table, len(world.table)
    long_ago = times_of(np.zeros(count, np.int64))
    ids = {c.ITEM_ID: table.ids, c.EVENT_TIMESTAMP: long_ago}
    put(store, "items", [pa.table({**ids, c.CATEGORY: world.category.astype(str)})])
    embedding: dict[str, Any] = {
        **ids,
        c.AVAILABLE_AT: long_ago,
        c.CREATED: long_ago,
        c.EMBEDDING: pack_column(table.vectors),
        c.DIM: pa.array([table.dim] * count, pa.int32()),
        c.ENCODER_ID: [encoder_id] * count,
        c.CONTENT_HASH: table.ids.astype(str),
    }
    put(store, "item_embedding", [pa.table(embedding)])


def _rows_table(world: World) -> pa.Table:
    """Return the rows as impressions in the order of time, a lag after their moment."""
    rows = world.rows
    return _in_time(rows.user, rows.item, rows.as_of_us + WINDOW.lag_us)


def _events_table(world: World) -> pa.Table:
    log = world.log
    return _in_time(log.owner, log.item, log.time_us, log.weight)


def _heavy(world: World, user: int) -> pa.Table:
    rng = np.random.default_rng(1)
    like = rng.integers(0, len(world.log), HEAVY_EVENTS)
    times = rng.integers(0, 60 * US_PER_DAY, HEAVY_EVENTS)
    who = np.full(HEAVY_EVENTS, user)
    return _in_time(who, world.log.item[like], times, world.log.weight[like])


def _heavy_rows(world: World, user: int) -> pa.Table:
    rng = np.random.default_rng(2)
    like = rng.integers(0, len(world.rows.user), HEAVY_ROWS)
    times = rng.integers(0, 60 * US_PER_DAY, HEAVY_ROWS)
    return _in_time(np.full(HEAVY_ROWS, user), world.rows.item[like], times)


def _in_time(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    time_us: NDArray[np.int64],
    weight: NDArray[np.float32] | None = None,
) -> pa.Table:
    """Return impressions, or events where there are weights, as a log holds them."""
    order = np.argsort(time_us, kind="stable")
    table = {
        c.USER_ID: user[order],
        c.ITEM_ID: item[order],
        c.EVENT_TIMESTAMP: times_of(time_us[order]),
    }
    if weight is None:
        count = len(order)
        extra: dict[str, Any] = {
            c.REQUEST_ID: np.arange(count),
            c.LABEL: np.zeros(count, np.int32),
        }
    else:
        kinds = pa.DictionaryArray.from_arrays(np.zeros(len(order), np.int32), ["event"])
        extra = {c.EVENT_TYPE: kinds.cast(pa.string()), c.WEIGHT: weight[order]}
    return pa.table({**table, **extra})


def _other_users(table: pa.Table, offset: int) -> pa.Table:
    at = table.column_names.index(c.USER_ID)
    return table.set_column(at, c.USER_ID, pa.array(table[c.USER_ID].to_numpy() + offset))
