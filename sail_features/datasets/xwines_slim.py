"""X-Wines Slim: dated wine ratings from 1 to 5 in half steps.

A rating is an event and an impression. Wines don't say when they were added and
take the log's start. 100 of 1,007 have a photograph.

References: R. X. de Azambuja, A. J. Morais, V. Filipe, X-Wines: A Wine Dataset for
Recommender Systems and Machine Learning, Big Data Cogn. Comput. 7(1):20, 2023,
https://doi.org/10.3390/bdcc7010020.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa

from sail_features import columns as c
from sail_features.datasets.dataset import Dataset, build_dataset
from sail_features.datasets.impressions import mark_logged
from sail_features.datasets.parquet_triples import (
    IMPRESSION_ID,
    TIME,
    convert_events,
    convert_impressions,
    is_triple,
    read_triple,
)
from sail_features.datasets.policies import REPEATED_IMPRESSION, drop_repeats
from sail_features.datasets.ratings import RATING, RATINGS_NOTE, compute_weight
from sail_features.datasets.text_columns import resolve_paths
from sail_features.schemas import IMPRESSIONS

_COLUMNS: Final = {
    "items": ("item_id", "title", "text", "type", "image_path", "grapes", "winery"),
    "interactions": ("user_id", "item_id", TIME, "event_type", "rating", "vintage"),
    "impressions": (IMPRESSION_ID, "user_id", "item_id", TIME, "label"),
}
_MIDDLE: Final = 3.75
_HALF_RANGE: Final = 1.25
"""Chosen here: ratings crowd above 3.5, and a label of 1 begins at 4."""


def is_xwines_slim(folder: Path) -> bool:
    """Return whether the folder's files have this set's columns."""
    return is_triple(folder, _COLUMNS)


def load_xwines_slim(folder: Path) -> Dataset:
    """Load the ratings; a request is a user's ratings of one day.

    Raises
    ------
    InputError
        A file is missing, can't be read or lacks a column.
    """
    source = read_triple(folder, _COLUMNS)
    impressions = mark_logged(convert_impressions(source.impressions))
    impressions, repeated = drop_repeats(impressions, IMPRESSIONS.key)
    stars = source.interactions[RATING]
    weights = compute_weight(stars, middle=_MIDDLE, half_range=_HALF_RANGE)
    return build_dataset(
        "xwines_slim",
        _items(source.items, folder.resolve()),
        convert_events(source.interactions, weights),
        impressions,
        negatives="logged",
        notes=(RATINGS_NOTE,),
        dropped={REPEATED_IMPRESSION: repeated},
    )


def _items(items: pa.Table, folder: Path) -> pa.Table:
    return pa.table(
        {
            c.ITEM_ID: items["item_id"],
            c.TITLE: items["title"],
            c.TEXT: items["text"],
            c.CATEGORY: items["type"],
            c.IMAGE_PATH: resolve_paths(items["image_path"], folder),
        }
    )
