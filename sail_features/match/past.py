"""Blocks of a few rows from plain Python lists: for examples, tests and oracles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sail_features.history import US_PER_DAY
from sail_features.match.block import PARTS, HistoryBlock, InterestCells, part_of
from sail_features.match.selection import ComparedRows, PastEvents, select_view


class PastEvent(NamedTuple):
    """One event that a row may see; the fields are those of `HistoryBlock`."""

    similarity: float
    weight: float = 1.0
    age_days: float = 1.0
    same_category: bool = False


class PastInterest(NamedTuple):
    """One interest that a row may see; the fields are those of `InterestCells`."""

    similarity: float
    weight: float = 1.0
    size: float = 1.0
    age_days: float = 1.0
    feedback: float = 0.0


@dataclass(frozen=True)
class Past:
    """All that one row may see.

    Parameters
    ----------
    events : newest first.
    interests : in any order.
    unlisted : how many further events have no vector.
    categorised : whether the target's category is known.
    """

    events: Sequence[PastEvent] = ()
    interests: Sequence[PastInterest] = ()
    unlisted: int = 0
    categorised: bool = True


def build_block(*rows: Past) -> HistoryBlock:
    """Return the block of these rows.

    Examples
    --------
    >>> block = build_block(Past([PastEvent(0.5), PastEvent(0.25, weight=-1)]), Past())
    >>> block.similarity.tolist(), block.bounds.tolist()
    ([0.5, 0.25], [[0, 1, 2, 2], [2, 2, 2, 2]])
    """
    # Part after part within a row, oldest first within a part.
    parts = [
        [e for part in range(PARTS) for e in row.events[::-1] if part_of(e.weight) == part]
        for row in rows
    ]
    similarity, weight, age_days, same_category = _columns([e for row in parts for e in row], 4)
    bounds = np.zeros((len(rows), PARTS + 1), np.int64)
    for row, cells in zip(bounds, parts, strict=True):
        row[1:] = np.cumsum([sum(part_of(e.weight) == n for e in cells) for n in range(PARTS)])
    bounds += np.cumsum([0, *bounds[:-1, PARTS]])[:, None]
    return select_view(
        ComparedRows(
            bounds[:, :PARTS].copy(),
            bounds,
            similarity,
            np.zeros(len(rows), np.int64),
            np.array([0 if row.categorised else -1 for row in rows], np.int64),
            np.array([len(row.events) + row.unlisted for row in rows], np.int64),
        ),
        PastEvents(
            np.rint(age_days.astype(np.float64) * -US_PER_DAY).astype(np.int64),
            weight,
            np.zeros(len(weight), np.int64),
            np.where(same_category > 0, 0, 1).astype(np.int64),
        ),
        _interest_cells(rows),
    )


def _interest_cells(rows: Sequence[Past]) -> InterestCells:
    counts = [len(row.interests) for row in rows]
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
    return InterestCells(offsets, *_columns([i for row in rows for i in row.interests], 5))


def _columns(rows: Sequence[tuple[float, ...]], width: int) -> list[np.ndarray]:
    return list(np.array(rows, np.float32).reshape(len(rows), width).T.copy())
