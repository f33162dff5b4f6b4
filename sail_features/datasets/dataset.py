"""The three tables that everything starts from, checked once, on entry.

Importers read a source's own files and hand plain tables to `build_dataset`,
which applies the named policies of `policies` and counts them. The invariant
lives in `Dataset` itself: one that exists keeps the contracts of
`sail_features.schemas`. Cost: one pass over the rows for each check, about a
second a million rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from sail_features import columns as c
from sail_features.datasets.policies import drop_odd_rows, settle_item_times
from sail_features.errors import InputError
from sail_features.schemas import (
    EVENTS,
    IMPRESSIONS,
    ITEMS,
    TableSchema,
    check_not_in_future,
    check_table,
    conform,
)

Negatives = Literal["logged", "sampled"]
"""Whether label-0 impressions were really shown (or rated), or drawn by a sampler."""


@dataclass(frozen=True)
class Dataset:
    """Items, events and impressions that keep the contracts.

    Parameters
    ----------
    name : what reports call it.
    items, events, impressions : conform to ``ITEMS``, ``EVENTS``, ``IMPRESSIONS`` of
        `sail_features.schemas`; every event and impression is of a known item.
    negatives : ``logged`` where label-0 impressions were really shown or rated, so
        that they may enter a user's history as negative feedback; ``sampled`` ones
        never may.
    notes : caveats that a report should print, one sentence each.
    dropped : rows that each named policy dropped or changed; a policy that
        touched none is left out.

    Raises
    ------
    InputError
        A table is empty, lacks a column or has a mistyped one, repeats a key, has
        times without a zone or in the future; ids differ in type between tables;
        an event or impression of an unknown item; labels other than 0 and 1, or
        all of one class.
    """

    name: str
    items: pa.Table
    events: pa.Table
    impressions: pa.Table
    negatives: Negatives
    notes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        for table, schema in self._tables():
            where = f"{self.name} {schema.name}"
            check_table(table, schema, where=where)
            check_not_in_future(table, c.EVENT_TIMESTAMP, now=now, where=where)
        _check_ids_alike(self.name, self.items, self.events, self.impressions)
        _check_items_known(self.name, self.items, self.events, self.impressions)
        _check_labels(self.impressions[c.LABEL], where=f"{self.name} {IMPRESSIONS.name}")

    def with_impressions(self, impressions: pa.Table, note: str) -> Dataset:
        """Return the set with other impressions, and one more note that says why."""
        return replace(self, impressions=impressions, notes=(*self.notes, note))

    def _tables(self) -> tuple[tuple[pa.Table, TableSchema], ...]:
        return (self.items, ITEMS), (self.events, EVENTS), (self.impressions, IMPRESSIONS)


def _check_ids_alike(name: str, items: pa.Table, events: pa.Table, impressions: pa.Table) -> None:
    pairs = (
        (EVENTS.name, events, c.ITEM_ID, ITEMS.name, items),
        (IMPRESSIONS.name, impressions, c.ITEM_ID, ITEMS.name, items),
        (IMPRESSIONS.name, impressions, c.USER_ID, EVENTS.name, events),
    )
    for where, table, column, reference_name, reference in pairs:
        got, expected = table.schema.field(column).type, reference.schema.field(column).type
        if got != expected:
            raise InputError.wrong_type(
                f"{name} {where}", column, got, f"{expected} as in {reference_name}"
            )


def _check_items_known(name: str, items: pa.Table, events: pa.Table, impressions: pa.Table) -> None:
    for where, table in ((EVENTS.name, events), (IMPRESSIONS.name, impressions)):
        known = pc.is_in(table[c.ITEM_ID], value_set=items[c.ITEM_ID])
        unknown = table[c.ITEM_ID].filter(pc.invert(known))
        if len(unknown):
            raise InputError.unknown_items(f"{name} {where}", pc.unique(unknown).to_pylist())


def _check_labels(labels: pa.ChunkedArray, *, where: str) -> None:
    values = sorted(pc.unique(labels).to_pylist())
    if not set(values) <= {0, 1}:
        raise InputError.labels_not_binary(where, values)
    if len(values) == 1:
        raise InputError.one_class(where, values[0])


def _as_source(schema: TableSchema) -> TableSchema:
    """Return the schema before the policies: keys may repeat, times may be null."""
    return replace(
        schema,
        key=(),
        columns=tuple(
            replace(column, nullable=True, optional=schema is ITEMS)
            if column.name == c.EVENT_TIMESTAMP
            else column
            for column in schema.columns
        ),
    )


_SOURCES: Final = {schema.name: _as_source(schema) for schema in (ITEMS, EVENTS, IMPRESSIONS)}


def conform_source(table: pa.Table, schema: TableSchema, *, where: str) -> pa.Table:
    """Check a source's columns and types, then cast them to those tables are written with.

    Keys may still repeat and times be null (an item may lack its time column): the
    policies come after.

    Raises
    ------
    InputError
        An empty table, a missing or mistyped column, a null where none may be.
    """
    check_table(table, _SOURCES[schema.name], where=where)
    return conform(table, schema)


def build_dataset(
    name: str,
    items: pa.Table,
    events: pa.Table,
    impressions: pa.Table,
    *,
    negatives: Negatives,
    notes: Iterable[str] = (),
    dropped: Mapping[str, int] | None = None,
) -> Dataset:
    """Apply the named policies to a source's tables and check the result.

    Parameters
    ----------
    name : what reports call the set.
    items : one row an item; ``event_timestamp`` may be null or absent
        (`settle_item_times`).
    events, impressions : rows without a time or of an unknown item are dropped.
    negatives, notes : as in `Dataset`.
    dropped : rows that the importer itself dropped, by policy.

    Raises
    ------
    InputError
        As `Dataset`; or a policy left no row.
    """
    items = conform_source(items, ITEMS, where=f"{name} {ITEMS.name}")
    if c.EVENT_TIMESTAMP in items.column_names:
        check_not_in_future(
            items, c.EVENT_TIMESTAMP, now=datetime.now(UTC), where=f"{name} {ITEMS.name}"
        )
    events = conform_source(events, EVENTS, where=f"{name} {EVENTS.name}")
    impressions = conform_source(impressions, IMPRESSIONS, where=f"{name} {IMPRESSIONS.name}")
    _check_ids_alike(name, items, events, impressions)
    counts = Counter(dropped or {})
    events, odd_events = drop_odd_rows(events, items, row="event", where=f"{name} events")
    impressions, odd_impressions = drop_odd_rows(
        impressions, items, row="impression", where=f"{name} impressions"
    )
    items, settled = settle_item_times(items, events, impressions)
    for touched in (odd_events, odd_impressions, settled):
        counts.update(touched)
    return Dataset(
        name=name,
        items=conform(items, ITEMS),
        events=events,
        impressions=impressions,
        negatives=negatives,
        notes=(*notes, *_notes_on_text(items)),
        dropped={policy: count for policy, count in counts.items() if count},
    )


def _notes_on_text(items: pa.Table) -> tuple[str, ...]:
    """Say how many items have neither text nor title; the encode job quarantines them."""
    blank = pa.chunked_array([pa.array([True] * items.num_rows)])
    for name in (c.TEXT, c.TITLE):
        if name in items.column_names:
            trimmed = pc.utf8_trim_whitespace(items[name])
            blank = pc.and_(blank, pc.fill_null(pc.equal(trimmed, ""), True))
    count = pc.sum(blank).as_py()
    return (f"{count} of {items.num_rows} items have no text.",) if count else ()
