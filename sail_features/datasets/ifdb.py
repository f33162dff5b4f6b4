"""IFDB: who played, wished for, tagged and rated which interactive fiction.

Playing and tagging weigh 0.25, a wish 0.5 (chosen here: signs of interest, short
of a verdict), a rating above or below the game's usual 1 or -1. A rating's own
time is not in the source: label and ``rated`` event carry the time at which the
user marked the game as played, and a game is perhaps rated later than that. Known
gap: the text holds tags that users gave at any time, so that a game's text tells
a little of its future readers.

References: IFDB, https://ifdb.org, CC BY 3.0 US; dumps at the IF Archive.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

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
from sail_features.datasets.text_columns import look_up
from sail_features.schemas import IMPRESSIONS

RATED: Final = "rated"
"""Type of the events made from past labels."""

_COLUMNS: Final = {
    "items": ("item_id", "title", "text", "system", "tags", "published"),
    "interactions": ("user_id", "item_id", TIME, "event_type", "tag"),
    "impressions": (IMPRESSION_ID, "user_id", "item_id", TIME, "label"),
}
_WEIGHTS: Final = {"played": 0.25, "wishlist": 0.5, "tag": 0.25}
_NOTES: Final = (
    "Labels say whether a rated game is liked more or less than usual, not clicks; they carry "
    "the time at which the user marked the game as played.",
    "Texts hold tags that users gave at any time.",
)


def is_ifdb(folder: Path) -> bool:
    """Return whether the folder's files have this set's columns."""
    return is_triple(folder, _COLUMNS)


def load_ifdb(folder: Path) -> Dataset:
    """Load the database; a request is a user's ratings of one day.

    Raises
    ------
    InputError
        A file is missing, can't be read or lacks a column.
    """
    source = read_triple(folder, _COLUMNS)
    impressions = mark_logged(convert_impressions(source.impressions))
    impressions, repeated = drop_repeats(impressions, IMPRESSIONS.key)
    weights = look_up(source.interactions["event_type"], _WEIGHTS)
    events = convert_events(source.interactions, weights)
    return build_dataset(
        "ifdb",
        _items(source.items),
        pa.concat_tables([events, _ratings(impressions)]),
        impressions,
        negatives="logged",
        notes=_NOTES,
        dropped={REPEATED_IMPRESSION: repeated},
    )


def _items(items: pa.Table) -> pa.Table:
    kept = items.select(["item_id", "published", "title", "text", "system", "tags"])
    return kept.rename_columns([c.ITEM_ID, c.EVENT_TIMESTAMP, c.TITLE, c.TEXT, c.CATEGORY, c.TAGS])


def _ratings(impressions: pa.Table) -> pa.Table:
    """Return past labels as events; one at an impression's own time isn't seen by it."""
    liked = pc.equal(impressions[c.LABEL], 1)
    events = impressions.select([c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP])
    events = events.append_column(c.EVENT_TYPE, pa.repeat(RATED, events.num_rows))
    return events.append_column(c.WEIGHT, pc.if_else(liked, 1.0, -1.0))
