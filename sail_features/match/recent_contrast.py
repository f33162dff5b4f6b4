"""Similarity to what the user liked lately, less similarity to what they liked before.

Tells a turn of interest from a lasting one: short- and long-term behaviour are modelled
apart in rankers (SIM, arXiv 2006.05639, section 3; Trinity, arXiv 2402.02842); the
difference as a column is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from sail_features.match.block import LIKED, Floats, HistoryBlock
from sail_features.match.sums import mean_of
from sail_features.match.top import highest_of


@dataclass(frozen=True)
class RecentContrast:
    """Differences of mean and maximum between recent and earlier liked events.

    Null where either side is empty.

    Parameters
    ----------
    recent_days : events up to this age are recent.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent, build_block
    >>> block = build_block(Past([PastEvent(0.75, age_days=1), PastEvent(0.25, age_days=9)]))
    >>> RecentContrast(recent_days=7).compute(block)
    array([[0.5, 0.5]], dtype=float32)
    """

    recent_days: float = 7.0
    name: str = "recent_contrast"
    version: int = 1

    @property
    def parameters(self) -> dict[str, object]:
        """The length of the recent past."""
        return {"recent_days": self.recent_days}

    @property
    def columns(self) -> tuple[str, ...]:
        """Two columns in [-2, 2]."""
        return ("recent_contrast_mean", "recent_contrast_max")

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, 2)."""
        values: Floats = _compute(block, self.recent_days)
        return values


@njit(cache=True, nogil=True)
def _compute(block: HistoryBlock, recent_days: float) -> Floats:
    out = np.full((len(block.bounds), 2), np.nan, np.float32)
    for row in range(len(out)):
        start, stop = block.bounds[row, LIKED], block.bounds[row, LIKED + 1]
        turn = stop
        while turn > start and block.age_days[turn - 1] <= recent_days:
            turn -= 1
        if start < turn < stop:
            earlier, recent = block.similarity[start:turn], block.similarity[turn:stop]
            out[row, 0] = mean_of(recent) - mean_of(earlier)
            out[row, 1] = highest_of(recent) - highest_of(earlier)
    return out
