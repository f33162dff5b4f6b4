"""Small views with an obvious answer, which the tests of all our offline stores join."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, RepoConfig
from feast.value_type import ValueType
from feast_workspace import at

BIG = 2**53 + 1
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
FEATURES = ["prices:price", "pairs:match", "weather:degrees"]


def write(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write a view's file; its times are given with a zone."""
    table = pa.Table.from_pylist(list(rows))
    for column in ("event_timestamp", "available_at"):
        place = table.column_names.index(column)
        utc = table[column].cast(pa.timestamp("us", "UTC"))
        table = table.set_column(place, column, utc)
    pq.write_table(table, folder / f"{name}.parquet")


def stamped(hour: float, available: float | None = None, **columns: Any) -> dict[str, Any]:
    """Return a row that held from ``hour``, known then or from ``available`` on."""
    known = at(hour if available is None else available)
    return {**columns, "event_timestamp": at(hour), "available_at": known}


def write_views(folder: Path) -> None:
    """Write the files of ``prices``, ``pairs`` and ``weather``."""
    prices = [
        stamped(1, item_id="1", price=10),
        stamped(2, item_id="1", price=BIG),
        stamped(2, 5, item_id="11", price=30),
        stamped(1, item_id="11", price=None),
    ]
    pairs = [
        stamped(1, user_id="1", item_id="11", score="first"),
        stamped(1, user_id="11", item_id="1", score="second"),
    ]
    write(folder, "prices", prices)
    write(folder, "pairs", pairs)
    write(folder, "weather", [stamped(1, degrees=5.0), stamped(3, degrees=7.0)])


MAPPED_STAMPS = {
    "timestamp_field": "held_at",
    "created_timestamp_column": "known_at",
    "field_mapping": {"event_timestamp": "held_at", "available_at": "known_at"},
}
"""A source that names its times by what its columns are mapped to, as Feast lets it."""


def open_store(folder: Path, kind: str, **settings: Any) -> FeatureStore:
    """Open a feature store with one kind of offline store."""
    config = RepoConfig(
        project="join",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
        offline_store={"type": kind, **settings},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        materialization={"pull_latest_features": True},
        repo_path=folder,
    )
    return FeatureStore(config=config)


def entity_frame(*rows: tuple[str | None, str | None, float]) -> pd.DataFrame:
    """Return (user, item, hour) rows, labelled by their place."""
    users, items, hours = zip(*rows, strict=True)
    frame = pd.DataFrame({"user_id": users, "item_id": items})
    return frame.assign(event_timestamp=[at(hour) for hour in hours], label=range(len(rows)))


ASKED = entity_frame(
    ("11", "1", 4), ("1", "11", 3), ("11", "1", 4), ("9", None, 0.5), ("11", "1", 4.5)
)
PRICES_THEN = [BIG, None, BIG, None, None]
"""With a time to live of two hours."""
MATCHES_THEN = ["second", "first", "second", None, "second"]
DEGREES_THEN = [7.0, 7.0, 7.0, None, 7.0]


def add_tax(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return prices with tax, as an on-demand view computes them."""
    return inputs.assign(taxed=inputs["price"] * (1 + inputs["rate"]))[["taxed"]]
