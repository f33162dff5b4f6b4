"""Small worlds: hand-made tables, random ones full of hard cases, and what is true of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from sail_features import columns as c
from sail_features.config import (
    BaselineConfig,
    EncoderConfig,
    HistoryConfig,
    MatchConfig,
    SailConfig,
    SparkConfig,
)
from sail_features.history import to_us
from sail_features.schemas import EVENTS, IMPRESSIONS, ITEMS, TIMESTAMP, conform
from sail_features.tables import TableStore
from sail_features.testing.oracles import Asked, Event

DAY_0 = datetime(2024, 3, 1, tzinfo=UTC)
AS_OF = DAY_0 + timedelta(days=30)
CONFIG = SailConfig(
    encoder=EncoderConfig(kind="hash", dim=32, max_quarantine_share=0.5),
    history=HistoryConfig(lookback_days=10, max_events=6, unclicked_weight=-0.5),
    match=MatchConfig(histogram_bins=4, neighbours=3, half_life_days=5),
    baseline=BaselineConfig(smoothing=2, recent_days=3),
    spark=SparkConfig(buckets=2),
)
"""No weights to load, and limits so tight that a small world crosses them."""

_WORDS = ["red", "white", "wine", "tea", "mug", "garden", "lamp", "clock", "heart", "paper"]


def at(day: float, microseconds: int = 0) -> datetime:
    """Return a time ``day`` days into the world."""
    return DAY_0 + timedelta(days=day, microseconds=microseconds)


@dataclass(frozen=True)
class World:
    """The three tables that a user brings."""

    items: pa.Table
    events: pa.Table
    impressions: pa.Table
    negatives: str = "logged"

    def publish(self, store: TableStore, as_of: datetime = AS_OF) -> None:
        """Write the tables as the importer does."""
        for name in ("items", "events", "impressions"):
            publish(store, name, getattr(self, name), as_of=as_of, negatives=self.negatives)


def publish(
    store: TableStore,
    name: str,
    table: pa.Table,
    *,
    as_of: datetime = AS_OF,
    since: datetime | None = None,
    negatives: str = "logged",
) -> None:
    """Write one table as one partition."""
    with store.replace_partition(name, as_of, since=since, config={}) as partition:
        partition.write(table)
        partition.lineage.update(negatives=negatives)


def items(rows: Iterable[tuple[Any, ...]], *names: str) -> pa.Table:
    """Return items from (item_id, event_timestamp, text, and columns called ``names``)."""
    return conform(_table(rows, c.ITEM_ID, c.EVENT_TIMESTAMP, c.TEXT, *names), ITEMS)


def events(rows: Iterable[tuple[Any, Any, datetime, float]]) -> pa.Table:
    """Return events from (user_id, item_id, event_timestamp, weight)."""
    table = _table(rows, c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.WEIGHT)
    kinds = pa.array(["event"] * table.num_rows, pa.string())
    return conform(table.append_column(c.EVENT_TYPE, kinds), EVENTS)


def impressions(rows: Iterable[tuple[Any, Any, datetime, int]]) -> pa.Table:
    """Return impressions from (user_id, item_id, event_timestamp, label), a request each."""
    table = _table(rows, c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.LABEL)
    requests = pa.array([f"r{row}" for row in range(table.num_rows)], pa.string())
    return conform(table.append_column(c.REQUEST_ID, requests), IMPRESSIONS)


def random_world(
    seed: int, *, ids: type = str, users: int = 12, shown: int = 150, negatives: str = "logged"
) -> World:
    """Return a world with ties, repeats, unknown users and items without text.

    Ids are digits, so that a user's and an item's read alike when put together; times
    are whole hours, so that events and impressions meet; users 0 and 1 have no events
    of their own, the last two items no text.
    """
    rng = np.random.default_rng(seed)
    catalogue = [ids(item) for item in range(1, 19)]
    people = [ids(user) for user in range(users)]
    made = items(
        [
            (
                item,
                at(-float(rng.integers(0, 5))),
                " ".join(rng.choice(_WORDS, rng.integers(1, 5))) if row < 16 else None,
                rng.choice(["drinks", "home", None]),
                float(rng.integers(1, 9)) if rng.random() < 0.8 else None,
            )
            for row, item in enumerate(catalogue)
        ],
        c.CATEGORY,
        c.PRICE,
    )

    def pick(who: Sequence[Any]) -> tuple[Any, Any, datetime]:
        moment = at(float(rng.integers(0, 20 * 24)) / 24)
        return who[rng.integers(len(who))], catalogue[rng.integers(18)], moment

    happened = [
        (*pick(people[2:]), float(rng.choice([-1, -0.25, 0, 0.5, 1]))) for _ in range(shown)
    ]
    happened += happened[:10]
    seen = [(*pick(people), int(rng.random() < 0.3)) for _ in range(shown)]
    seen += [(user, item, time, 0) for user, item, time, _ in happened[20:40]]
    return World(made, events(happened), impressions(seen), negatives)


def with_buckets(count: int) -> SailConfig:
    """Return `CONFIG` with another number of hash buckets."""
    return CONFIG.model_copy(update={"spark": CONFIG.spark.model_copy(update={"buckets": count})})


def id_type(kind: type) -> pa.DataType:
    """Return the type that columns of ids of this Python type have."""
    return pa.string() if kind is str else pa.int64()


def pair_table(pairs: Sequence[tuple[Any, ...]], ids: pa.DataType) -> pa.Table:
    """Return `true_pairs` or `true_feedback` as the table that a Spark task gets."""
    columns = {
        c.USER_ID: pa.array([pair[0] for pair in pairs], ids),
        c.ITEM_ID: pa.array([pair[1] for pair in pairs], ids),
        c.EVENT_TIMESTAMP: pa.array([pair[2] for pair in pairs], pa.int64()).cast(TIMESTAMP),
    }
    if len(pairs) == 0 or len(pairs[0]) > 3:
        columns[c.WEIGHT] = pa.array([pair[3] for pair in pairs], pa.float32())
    return pa.table(columns)


def true_feedback(world: World, config: HistoryConfig) -> list[Event]:
    """Return the feedback that histories rest on, row by row."""
    feedback = [
        Event(row[c.USER_ID], row[c.ITEM_ID], to_us(row[c.EVENT_TIMESTAMP]), row[c.WEIGHT])
        for row in world.events.to_pylist()
    ]
    told = {event[:3] for event in feedback}
    if world.negatives != "logged" or config.unclicked_weight is None:
        return feedback
    for row in world.impressions.to_pylist():
        shown = (row[c.USER_ID], row[c.ITEM_ID], to_us(row[c.EVENT_TIMESTAMP]))
        if row[c.LABEL] == 0 and shown not in told:
            feedback.append(Event(*shown, config.unclicked_weight))
    return feedback


def true_pairs(world: World, config: HistoryConfig) -> list[Asked]:
    """Return the distinct rows that features are made for, each as of its moment."""
    lag = config.lag // timedelta(microseconds=1)
    return sorted(
        {
            Asked(row[c.USER_ID], row[c.ITEM_ID], to_us(row[c.EVENT_TIMESTAMP]) - lag)
            for row in world.impressions.to_pylist()
        }
    )


def moment_of(us: int) -> datetime:
    """Return microseconds since 1970 as a time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def rows_by_pair(table: pa.Table) -> dict[Asked, dict[str, Any]]:
    """Return a pair table's rows by (user, item, moment)."""
    return {
        Asked(row[c.USER_ID], row[c.ITEM_ID], to_us(row[c.EVENT_TIMESTAMP])): row
        for row in table.to_pylist()
    }


def _table(rows: Iterable[tuple[Any, ...]], *names: str) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    arrays = {name: list(values) for name, values in zip(names, columns, strict=True)}
    times = pa.array(arrays.pop(c.EVENT_TIMESTAMP), TIMESTAMP)
    return pa.table({**arrays, c.EVENT_TIMESTAMP: times})
