"""What a point-in-time join must give: one loop over all rows, one comparison each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st


@dataclass(frozen=True)
class Row:
    """A row of features; ``value`` tells it from all others."""

    user: str | None
    item: str | None
    held: int | None
    created: int | None
    value: int


@dataclass(frozen=True)
class Asked:
    """An entity row."""

    user: str | None
    item: str | None
    at: int


KEYS = st.sampled_from(["1", "11", None])
TIMES = st.integers(0, 6)
ROWS = st.lists(
    st.tuples(KEYS, KEYS, st.none() | TIMES, st.none() | TIMES),
    max_size=14,
    unique_by=lambda row: row[:4],
).map(lambda rows: [Row(*row, value) for value, row in enumerate(rows)])
ASKED = st.lists(st.builds(Asked, KEYS, KEYS, TIMES), min_size=1, max_size=14)


def answer(rows: Sequence[Row], one: Asked, ttl: int | None, cut: bool) -> int | None:
    """Return the value of the newest row that was visible."""
    best: Row | None = None
    for row in rows:
        if row.user is None or row.item is None or row.held is None:
            continue
        if (row.user, row.item) != (one.user, one.item) or row.held > one.at:
            continue
        if cut and (row.created is None or row.created > one.at):
            continue
        if best is None or newness(row) > newness(best):
            best = row
    if best is None or best.held is None or (ttl and one.at - best.held > ttl):
        return None
    return best.value


def newness(row: Row) -> tuple[int, int]:
    """Return what tells an older row from a newer one."""
    assert row.held is not None
    return row.held, -1 if row.created is None else row.created
