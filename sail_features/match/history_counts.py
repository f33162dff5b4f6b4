"""How much history a row's features rest on, and how fresh it is.

Not content, but what tells a ranker how far to trust the content features beside
it. The control arm has the user's own counts (`sail_features.baseline`), so a lift
can't come from these alone; the placebo arm has them too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sail_features.match.block import Floats, HistoryBlock


@dataclass(frozen=True)
class HistoryCounts:
    """Liked, disliked and all events compared, and the age of the newest in days.

    Counts are of events whose item has a vector, within the window; 0 where there
    is none, and then the age is null.

    Examples
    --------
    >>> block = HistoryBlock(*(np.float32([x]) for x in ([0.1, 0.2], [1, -1], [3, 5])),
    ...                      seen=np.array([[True, True]]))
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
        newest = np.where(block.seen, block.age_days, np.float32(np.inf)).min(
            axis=1, initial=np.inf
        )
        counts = [mask.sum(axis=1) for mask in (block.seen, block.positive, block.negative)]
        age = np.where(np.isfinite(newest), newest, np.nan)
        return np.stack([*counts, age], axis=1).astype(np.float32)
