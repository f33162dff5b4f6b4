"""MIND, the Microsoft News Dataset: one of its folders (train or dev).

``news.tsv``: id, category, subcategory, title, abstract, url, two entity lists.
``behaviors.tsv``: impression id, user, time (``11/15/2019 9:05:58 AM``), history
(news ids, oldest first), impressions (``N1-0 N2-1``: id and click). Neither has a
header or quotes. The impressions were really shown.

The times have no zone and are read as UTC. A user's history has no times: its
clicks are put before her first impression, one second apart, in order; so their
recency means nothing, and their order does. News has no time: the log's start.

References: F. Wu et al., MIND: A Large-scale Dataset for News Recommendation, ACL
2020; https://github.com/msnews/msnews.github.io/blob/master/assets/doc/introduction.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.datasets.dataset import Dataset, build_dataset
from sail_features.datasets.impressions import mark_logged
from sail_features.datasets.policies import REPEATED_IMPRESSION, drop_repeats
from sail_features.datasets.source_files import read_delimited
from sail_features.datasets.text_columns import join_text
from sail_features.datasets.timestamps import TimeRule, read_times
from sail_features.errors import InputError
from sail_features.schemas import IMPRESSIONS, TIMESTAMP

CLICK: Final = "click"
HISTORY_CLICK: Final = "history_click"
"""A click that the source states without its time."""

_NEWS: Final = (
    "news", "category", "subcategory", "title", "abstract", "url", "title_entities", "entities"
)  # fmt: skip
_BEHAVIORS: Final = ("impression", "user", "time", "history", "shown")
_TIMES: Final = TimeRule(timezone="UTC", pattern="%m/%d/%Y %I:%M:%S %p")
_SHOWN: Final = r"^(?P<item>.+)-(?P<label>[01])$"
_NOTES: Final = (
    "MIND's times have no zone; they are read as UTC.",
    "Clicks of MIND's histories have no time; they lie one second apart before the user's "
    "first impression.",
)


def is_mind(folder: Path) -> bool:
    """Return whether the folder holds the two files of MIND."""
    return (folder / "news.tsv").is_file() and (folder / "behaviors.tsv").is_file()


def load_mind(folder: Path) -> Dataset:
    """Load one folder of MIND, its impressions as they were shown.

    A click becomes an event of weight 1 at its impression's time.

    Raises
    ------
    InputError
        A file is missing or can't be parsed, or the impressions have no labels
        (MIND's test folder).
    """
    news = read_delimited(folder / "news.tsv", "\t", names=_NEWS, quoted=False)
    file = folder / "behaviors.tsv"
    behaviors = read_delimited(file, "\t", names=_BEHAVIORS, quoted=False)
    times, _ = read_times(behaviors["time"], _TIMES, where=str(file), name="time")
    behaviors = behaviors.set_column(2, "time", times)
    shown, repeated = drop_repeats(_impressions(behaviors, where=str(file)), IMPRESSIONS.key)
    return build_dataset(
        "mind",
        _items(news),
        pa.concat_tables([_history(behaviors), _clicks(shown)]),
        mark_logged(shown),
        negatives="logged",
        notes=_NOTES,
        dropped={REPEATED_IMPRESSION: repeated},
    )


def _items(news: pa.Table) -> pa.Table:
    return pa.table(
        {
            c.ITEM_ID: news["news"],
            c.TITLE: news["title"],
            c.TEXT: join_text([news["title"], news["abstract"]]),
            c.CATEGORY: news["category"],
            c.TAGS: pc.split_pattern(news["subcategory"], "|"),
        }
    )


def _impressions(behaviors: pa.Table, *, where: str) -> pa.Table:
    shown = _explode(behaviors, "shown")
    parts = pc.extract_regex(shown["shown"], _SHOWN)
    if parts.null_count:
        unlabelled = shown["shown"].filter(pc.is_null(parts)).to_pylist()
        raise InputError.labels_not_binary(where, unlabelled)
    return pa.table(
        {
            c.REQUEST_ID: shown["impression"],
            c.USER_ID: shown["user"],
            c.ITEM_ID: pc.struct_field(parts, "item"),
            c.EVENT_TIMESTAMP: shown["time"],
            c.LABEL: pc.struct_field(parts, "label").cast(pa.int32()),
        }
    )


def _clicks(shown: pa.Table) -> pa.Table:
    clicked = shown.filter(pc.equal(shown[c.LABEL], 1))
    return _events(clicked[c.USER_ID], clicked[c.ITEM_ID], clicked[c.EVENT_TIMESTAMP], CLICK)


def _history(behaviors: pa.Table) -> pa.Table:
    """Return the history of each user's first impression as events that precede it."""
    first, _ = drop_repeats(behaviors.sort_by("time"), ("user",))
    past = _explode(first, "history")
    seconds = pc.multiply(past["steps_to_end"], 1_000_000).cast(pa.duration("us"))
    times = pc.subtract(past["time"], seconds)
    return _events(past["user"], past["history"], times, HISTORY_CLICK)


def _events(
    users: pa.ChunkedArray, items: pa.ChunkedArray, times: pa.ChunkedArray, event_type: str
) -> pa.Table:
    return pa.table(
        {
            c.USER_ID: users,
            c.ITEM_ID: items,
            c.EVENT_TIMESTAMP: times.cast(TIMESTAMP),
            c.EVENT_TYPE: pa.repeat(event_type, len(users)),
            c.WEIGHT: pa.repeat(1.0, len(users)),
        }
    )


def _explode(table: pa.Table, column: str) -> pa.Table:
    """Return one row for each of the words of ``column``; a null has none.

    ``steps_to_end`` counts from a row's last word, which has 1.
    """
    parts = [_explode_batch(batch, column) for batch in table.to_batches()]
    return pa.concat_tables(parts)


def _explode_batch(batch: pa.RecordBatch, column: str) -> pa.Table:
    words = pc.split_pattern(pc.utf8_trim_whitespace(batch[column]), " ")
    parents = pc.list_parent_indices(words)
    rows = parents.to_numpy()
    steps = np.searchsorted(rows, rows, side="right") - np.arange(len(rows))
    exploded = pa.Table.from_batches([batch]).drop_columns([column]).take(parents)
    return exploded.append_column(column, pc.list_flatten(words)).append_column(
        "steps_to_end", pa.array(steps)
    )
