"""Example data: a small synthetic shop, in files as a user would bring them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import csv

from sail_features import columns as c
from sail_features.datasets.synthetic import SyntheticConfig, build_synthetic

WORLD: Final = SyntheticConfig(users=150, items=120, days=14, impressions=6_000)
ITEMS: Final = {
    c.ITEM_ID: "sku",
    c.EVENT_TIMESTAMP: "listed_at",
    c.TITLE: "name",
    c.TEXT: "description",
    c.CATEGORY: "department",
    c.PRICE: "price_gbp",
}
EVENTS: Final = {
    c.USER_ID: "customer",
    c.ITEM_ID: "sku",
    c.EVENT_TIMESTAMP: "happened_at",
    c.EVENT_TYPE: "kind",
}
IMPRESSIONS: Final = {
    c.REQUEST_ID: "page_view",
    c.USER_ID: "customer",
    c.ITEM_ID: "sku",
    c.EVENT_TIMESTAMP: "shown_at",
    c.LABEL: "clicked",
}
"""Our columns, and what the example's files call them; ``mapping.yaml`` says it back."""


def write_example(folder: Path) -> None:
    """Write ``items.csv``, ``events.csv`` and ``impressions.csv``, the same each time."""
    folder.mkdir()
    world = build_synthetic(WORLD)
    _write(world.items, ITEMS, folder / "items.csv")
    _write(world.events, EVENTS, folder / "events.csv")
    _write(world.impressions, IMPRESSIONS, folder / "impressions.csv")


def _write(table: pa.Table, names: Mapping[str, str], path: Path) -> None:
    csv.write_csv(table.select(list(names)).rename_columns(list(names.values())), path)
