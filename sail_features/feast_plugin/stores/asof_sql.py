"""The point-in-time join as SQL text: one ``ASOF LEFT JOIN`` a view.

``ASOF`` takes, for each entity row, the row of the view with the largest time not
after it. Two things it doesn't know are settled before it, by one window over each
view: which rows could have been known when, and what to do with equal times.

A row is visible from ``known_us`` on: when it held, or when it was created if that
is later. The join wants the newest row that held, of those visible. So a row that
held earlier than one which was known no later is never an answer; without such
rows, a key's rows are in the same order by either time, and ``ASOF`` on
``known_us`` finds the right one. Where every row was known when it held, there are
none such, and the window is left out: it costs as much as the join.

Columns have positions for names inside, so what users typed appears only where a
source is read, quoted. Cost: one sort of each view and one of the entity rows for
each view; all of it spills to disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

ENTITIES: Final = "entities"
"""Table of the entity rows: ``row_number``, ``asked_us`` and the keys."""


@dataclass(frozen=True)
class ViewRead:
    """What one view gives to a join.

    ``relation`` is SQL that yields its rows; ``keys`` pairs each key column of it with
    the column of `ENTITIES` that it equals; ``held`` and ``created`` are its times in
    microseconds as SQL; ``features`` are its columns, in the order of the result;
    ``known_when_held`` says that every row was created the moment it held; ``wide``,
    that features take more than a few bytes a row; ``apart``, that they are held
    elsewhere, by the ``rowid`` of the table that ``relation`` is.
    """

    relation: str
    keys: tuple[tuple[str, str], ...]
    held: str
    created: str
    features: tuple[str, ...]
    ttl: timedelta | None
    known_when_held: bool
    wide: bool
    apart: bool = False

    @property
    def answers(self) -> tuple[str, ...]:
        """SQL of what the join carries."""
        return ("rowid",) if self.apart else tuple(map(identifier, self.features))


def identifier(name: str) -> str:
    """Return ``name`` quoted as the name of a column or table.

    Examples
    --------
    >>> print(identifier('a "b" c'))
    "a ""b"" c"
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return ``text`` quoted as a string.

    Examples
    --------
    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def join_sql(reads: Sequence[ViewRead], *, cut_at_created: bool) -> str:
    """Return the query of ``row_number`` and all features, in the entity rows' order.

    Parameters
    ----------
    reads : views in the order of the result's columns.
    cut_at_created : whether a row is seen only once it was created.

    Notes
    -----
    Views of vectors and lists are joined last: each further join sorts all columns
    that the earlier ones gave.
    """
    views = [
        f"view_{place} AS ({visible_rows_sql(read, cut_at_created=cut_at_created)})"
        for place, read in enumerate(reads)
    ]
    joined = sorted(range(len(reads)), key=lambda place: reads[place].wide)
    joins = [_asof_join(place, reads[place]) for place in joined]
    columns = [column for place, read in enumerate(reads) for column in _answers(place, read)]
    return "\n".join(
        [
            "WITH " + ",\n".join(views) if views else "",
            "SELECT " + ", ".join(["asked.row_number", *columns]),
            f"FROM {ENTITIES} AS asked",
            *joins,
            "ORDER BY asked.row_number",
        ]
    )


def visible_rows_sql(read: ViewRead, *, cut_at_created: bool) -> str:
    """Return the query of the rows that can be an answer, with ``known_us`` from when on."""
    keys = [f"{identifier(key)} AS key_{place}" for place, (key, _) in enumerate(read.keys)]
    features = [f"{answer} AS feature_{place}" for place, answer in enumerate(read.answers)]
    known = f"greatest({read.held}, {read.created})" if cut_at_created else read.held
    columns = [
        *keys,
        f"{read.held} AS held_us",
        f"{read.created} AS created_us",
        f"{known} AS known_us",
        *features,
    ]
    complete = [f"key_{place} IS NOT NULL" for place in range(len(keys))] + ["held_us IS NOT NULL"]
    if cut_at_created:
        complete.append("created_us IS NOT NULL")
    own = ", ".join(f"key_{place}" for place in range(len(keys)))
    partition = f"PARTITION BY {own} " if own else ""
    rows = f"SELECT * FROM (SELECT {', '.join(columns)} FROM {read.relation}) "  # noqa: S608
    rows += f"WHERE {' AND '.join(complete)}"
    if read.known_when_held:
        return rows
    return " ".join(
        [
            rows,
            f"WINDOW so_far AS ({partition}",
            "ORDER BY known_us, held_us, created_us NULLS FIRST",
            "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
            "QUALIFY held_us = max(held_us) OVER so_far",
            "AND known_us IS DISTINCT FROM lead(known_us) OVER so_far",
        ]
    )


def _asof_join(place: int, read: ViewRead) -> str:
    view = f"view_{place}"
    equal = [
        f"asked.{column} = {view}.key_{number} AND " for number, (_, column) in enumerate(read.keys)
    ]
    return f"ASOF LEFT JOIN {view} ON {''.join(equal)}asked.asked_us >= {view}.known_us"


def _answers(place: int, read: ViewRead) -> list[str]:
    """Return the columns of a view, null where the row that was found is too old."""
    view = f"view_{place}"
    columns = [f"{view}.feature_{number}" for number in range(len(read.answers))]
    if read.ttl:
        lived_us = read.ttl // timedelta(microseconds=1)
        fresh = f"asked.asked_us - {view}.held_us <= {lived_us}"
        columns = [f"CASE WHEN {fresh} THEN {column} END" for column in columns]
    return [f"{column} AS answer_{place}_{n}" for n, column in enumerate(columns)]


def latest_sql(
    relation: str, columns: Sequence[str], keys: Sequence[str], times: Sequence[str], *, where: str
) -> str:
    """Return the query of the newest row of each key.

    Parameters
    ----------
    times : SQL of what "newest" means, the most important first.
    where : condition on the rows.
    """
    newest = ", ".join(f"{time} DESC NULLS LAST" for time in times)
    partition = f"PARTITION BY {', '.join(map(identifier, keys))} " if keys else ""
    return " ".join(
        [
            f"SELECT {', '.join(columns)} FROM {relation} WHERE {where}",  # noqa: S608 quoted
            f"QUALIFY row_number() OVER ({partition}ORDER BY {newest}) = 1",
        ]
    )
