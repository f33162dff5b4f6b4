"""Which share of a user's history the other features could see.

An item without a vector (no text, an unreadable image) is left out of all
similarities; a row whose history is mostly such items deserves less trust. The
definition is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from sail_features.match.block import PARTS, Floats, HistoryBlock


@dataclass(frozen=True)
class HistoryCoverage:
    """Share of the history's events whose item has a vector; null where there is no event.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent, build_block
    >>> HistoryCoverage().compute(build_block(Past([PastEvent(0.5)], unlisted=3), Past()))
    array([[0.25],
           [ nan]], dtype=float32)
    """

    name: str = "history_coverage"
    version: int = 1

    @property
    def parameters(self) -> dict[str, object]:
        """None."""
        return {}

    @property
    def columns(self) -> tuple[str, ...]:
        """One share in [0, 1]."""
        return ("history_coverage",)

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, 1)."""
        values: Floats = _compute(block)
        return values


@njit(cache=True, nogil=True)
def _compute(block: HistoryBlock) -> Floats:
    out = np.full((len(block.bounds), 1), np.nan, np.float32)
    for row in range(len(out)):
        if block.listed[row]:
            out[row, 0] = (block.bounds[row, PARTS] - block.bounds[row, 0]) / block.listed[row]
    return out
