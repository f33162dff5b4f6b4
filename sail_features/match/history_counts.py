"""How much history a row's features rest on, and how fresh it is.

Not content, but what tells a ranker how far to trust the content features beside
it. The control arm has the user's own counts (`sail_features.baseline`), so a lift
can't come from these alone; the placebo arm has them too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from sail_features.match.block import Floats, HistoryBlock


@dataclass(frozen=True)
class HistoryCounts:
    """Liked, disliked and all events compared, and the age of the newest in days.

    Counts are of events whose item has a vector, within the window; 0 where there
    is none, and then the age is null.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent, build_block
    >>> block = build_block(Past([PastEvent(0.1, 1, 3), PastEvent(0.2, -1, 5)]))
    >>> HistoryCounts().compute(block)
    array([[2., 1., 1., 3.]], dtype=float32)
    """

    name: str = "history_counts"
    version: int = 1

    @property
    def parameters(self) -> dict[str, object]:
        """None."""
        return {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Three counts and one age."""
        return ("history_count", "history_liked", "history_disliked", "history_age_days")

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, 4)."""
        values: Floats = _compute(block)
        return values


@njit(cache=True, nogil=True)
def _compute(block: HistoryBlock) -> Floats:
    out = np.full((len(block.bounds), 4), np.nan, np.float32)
    for row in range(len(out)):
        bounds = block.bounds[row]
        out[row, 0] = bounds[3] - bounds[0]
        out[row, 1] = bounds[1] - bounds[0]
        out[row, 2] = bounds[2] - bounds[1]
        # Each of the three parts ends with its newest event.
        for part in range(3):
            if bounds[part] < bounds[part + 1]:
                age = block.age_days[bounds[part + 1] - 1]
                out[row, 3] = age if np.isnan(out[row, 3]) else min(out[row, 3], age)
    return out
