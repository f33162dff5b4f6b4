"""Online Retail: a British gift shop's purchases and returns, from 2010-12 to 2011-12.

A purchase weighs 1, a return -1. Impressions are first purchases, and negatives
that the set's author sampled, half by popularity and half uniformly, from the
items live in the 30 days before. None of them was bought by the user at any time,
so that being drawn tells a little of the future; our own sampler (`negatives`)
avoids that. Known gaps: no category in the source, and one price an item, near
the median of the whole period.

References: D. Chen, Online Retail, UCI Machine Learning Repository 352, 2015,
https://doi.org/10.24432/C5BW33.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa

from sail_features import columns as c
from sail_features.datasets.dataset import Dataset, build_dataset
from sail_features.datasets.parquet_triples import (
    IMPRESSION_ID,
    TIME,
    convert_events,
    convert_impressions,
    is_triple,
    read_triple,
)
from sail_features.datasets.policies import REPEATED_IMPRESSION, drop_repeats
from sail_features.datasets.text_columns import look_up
from sail_features.schemas import IMPRESSIONS

_COLUMNS: Final = {
    "items": ("item_id", "title", "text", "price", "first_seen", "alt_titles"),
    "interactions": ("user_id", "item_id", TIME, "event_type", "session_id", "quantity"),
    "impressions": (IMPRESSION_ID, "user_id", "item_id", TIME, "label", "neg_type"),
}
_WEIGHTS: Final = {"purchase": 1.0, "return": -1.0}
_NEGATIVE_SOURCES: Final = {"pos": "logged", "pop": "popularity", "uni": "uniform"}
_NOTES: Final = (
    "Negatives were sampled by the set's author, half by popularity and half uniformly, from "
    "items live in the 30 days before and never bought by the user at any time; nobody logged "
    "what was shown, so AUC here is not that of clicks.",
    "Prices are one figure an item for the whole period.",
)


def is_online_retail(folder: Path) -> bool:
    """Return whether the folder's files have this set's columns."""
    return is_triple(folder, _COLUMNS)


def load_online_retail(folder: Path) -> Dataset:
    """Load the shop's log; a request is an invoice.

    An item drawn twice as a negative of one invoice is kept once, and counted.

    Raises
    ------
    InputError
        A file is missing, can't be read or lacks a column.
    """
    source = read_triple(folder, _COLUMNS)
    sources = look_up(source.impressions["neg_type"], _NEGATIVE_SOURCES)
    impressions = convert_impressions(source.impressions).append_column(c.NEGATIVE_SOURCE, sources)
    impressions, repeated = drop_repeats(impressions, IMPRESSIONS.key)
    return build_dataset(
        "online_retail",
        _items(source.items),
        convert_events(source.interactions, look_up(source.interactions["event_type"], _WEIGHTS)),
        impressions,
        negatives="sampled",
        notes=_NOTES,
        dropped={REPEATED_IMPRESSION: repeated},
    )


def _items(items: pa.Table) -> pa.Table:
    kept = items.select(["item_id", "first_seen", "title", "text", "price"])
    return kept.rename_columns([c.ITEM_ID, c.EVENT_TIMESTAMP, c.TITLE, c.TEXT, c.PRICE])
