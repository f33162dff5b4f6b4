"""Import a user's own item, event and impression files through a `mapping.Mapping`.

Where nobody logged what was shown, impressions are the first liking event of each
user and item, and sampled negatives (`negatives`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.datasets.dataset import Dataset, build_dataset, conform_source
from sail_features.datasets.impressions import first_likes
from sail_features.datasets.mapping import Mapping
from sail_features.datasets.negatives import SAMPLED_NOTE, add_sampled_negatives
from sail_features.datasets.policies import drop_odd_rows
from sail_features.datasets.source_files import read_table
from sail_features.datasets.user_columns import read_events, read_impressions, read_items
from sail_features.errors import ConfigError, InputError
from sail_features.schemas import EVENTS, IMPRESSIONS, ITEMS

NEGATIVES_PER_POSITIVE: Final = 4
"""Where nobody logged what was shown; chosen here."""
LOGGED_NEGATIVE_REPLACED: Final = "logged_negative_replaced"
"""A logged impression without a response, left out because sampling was asked for."""

_NAME: Final = "import"


def load_user_tables(
    items: Path,
    events: Path,
    impressions: Path | None,
    mapping: Mapping,
    *,
    negatives_per_positive: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Load a user's files, and sample negatives where there are none.

    Parameters
    ----------
    items, events, impressions : files or folders as `source_files.read_table` takes.
    mapping : which column holds what.
    negatives_per_positive : sample so many negatives for each positive, in place of
        any logged ones. Null: `NEGATIVES_PER_POSITIVE` where there are no
        impressions, and no sampling where there are.
    seed : of the sampler.

    Raises
    ------
    ConfigError
        The mapping names no column.
    InputError
        A file can't be read, a named column isn't there or can't be converted, or
        the tables break their contracts (`dataset.Dataset`).
    """
    paths = {"items": items, "events": events}
    if impressions is not None:
        paths["impressions"] = impressions
    tables = {name: read_table(path) for name, path in paths.items()}
    for name, table in tables.items():
        if not table.num_rows:
            raise InputError.empty(str(paths[name]))
    if not mapping.names_a_column:
        raise ConfigError.names_nothing("mapping", _describe(tables))
    converted, counts = _convert(tables, paths, mapping)
    if "impressions" in tables and negatives_per_positive is None:
        return build_dataset(_NAME, **converted, negatives="logged", dropped=counts)
    if negatives_per_positive is None:
        negatives_per_positive = NEGATIVES_PER_POSITIVE
    return _build_sampled(converted, counts, per_positive=negatives_per_positive, seed=seed)


def _describe(tables: dict[str, pa.Table]) -> str:
    return "; ".join(f"{name} have {', '.join(t.column_names)}" for name, t in tables.items())


def _convert(
    tables: dict[str, pa.Table], paths: dict[str, Path], mapping: Mapping
) -> tuple[dict[str, pa.Table], Counter[str]]:
    """Return the tables with the contracts' columns, and the rows that policies touched."""
    rule, converted, counts = mapping.time_rule, {}, Counter[str]()
    for name, table in tables.items():
        if name == "items":
            result = read_items(table, mapping.items, rule, source=paths[name])
        elif name == "events":
            result = read_events(table, mapping.events, rule, source=paths[name])
        else:
            result = read_impressions(table, mapping.impressions, rule, source=paths[name])
        converted[name], touched = result
        counts.update(touched)
    _check_ids_alike(converted, paths)
    return converted, counts


def _check_ids_alike(tables: dict[str, pa.Table], paths: dict[str, Path]) -> None:
    """Refuse ids that are numbers in one file and strings in another, before any join."""
    for column in (c.ITEM_ID, c.USER_ID):
        kinds = {
            name: table.schema.field(column).type
            for name, table in tables.items()
            if column in table.column_names
        }
        first, *others = kinds
        for name in others:
            if pa.types.is_integer(kinds[name]) != pa.types.is_integer(kinds[first]):
                raise InputError.ids_differ(
                    paths[name], column, kinds[name], paths[first], kinds[first]
                )


def _build_sampled(
    tables: dict[str, pa.Table], counts: Counter[str], *, per_positive: int, seed: int
) -> Dataset:
    """Build the set whose negatives are drawn from the live catalogue."""
    items = conform_source(tables["items"], ITEMS, where=f"{_NAME} items")
    events = conform_source(tables["events"], EVENTS, where=f"{_NAME} events")
    events, touched = drop_odd_rows(events, items, row="event", where=f"{_NAME} events")
    counts.update(touched)
    positives = _positives(tables.get("impressions"), events, items, counts)
    if positives.num_rows == 0:
        raise InputError.no_positives(f"{_NAME} events")
    impressions, missed = add_sampled_negatives(
        positives, events, items, per_positive=per_positive, seed=seed
    )
    counts.update(missed)
    return build_dataset(
        _NAME,
        items,
        events,
        impressions,
        negatives="sampled",
        notes=(SAMPLED_NOTE,),
        dropped=counts,
    )


def _positives(
    shown: pa.Table | None, events: pa.Table, items: pa.Table, counts: Counter[str]
) -> pa.Table:
    """Return the logged impressions of label 1, or else make them from events."""
    if shown is None:
        return first_likes(events)
    shown = conform_source(shown, IMPRESSIONS, where=f"{_NAME} impressions")
    shown, touched = drop_odd_rows(shown, items, row="impression", where=f"{_NAME} impressions")
    positives = shown.filter(pc.equal(shown[c.LABEL], 1))
    counts.update(touched)
    counts[LOGGED_NEGATIVE_REPLACED] += shown.num_rows - positives.num_rows
    return positives
