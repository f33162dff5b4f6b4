"""What the user said of the most similar items of their past.

Item-based nearest-neighbour prediction with content in place of co-ratings: the
feedback on the k most similar history items, weighted by similarity. The fourth
power follows the trial in `judge_facts.md` 5.1 (kNN-CTR, +7 to +19 of 1e-4 AUC).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sail_features.match.block import Floats, HistoryBlock, weighted_mean

TIE: Final = 1e-6
"""Similarities this close are equal: a matrix product rounds the same item's cosine
differently in different places."""


@dataclass(frozen=True)
class NeighbourFeedback:
    """Similarity-weighted mean of past feedback over the nearest history items.

    Parameters
    ----------
    neighbours : how many history items, of either sign, take part.

    Notes
    -----
    Weights are max(similarity, 0)^4. Null where no history item has a positive
    similarity. Of equally similar items at the edge of the k, all take part, so
    that no order of ties decides.

    Examples
    --------
    >>> block = HistoryBlock(*(np.float32([x]) for x in ([1, 1, 0.1], [1, -0.5, -1], [1, 2, 3])),
    ...                      seen=np.array([[True, True, True]]))
    >>> NeighbourFeedback(neighbours=2).compute(block)
    array([[0.25]], dtype=float32)
    """

    neighbours: int = 10
    name: str = "neighbour_feedback"
    version: int = 1

    @property
    def parameters(self) -> dict[str, object]:
        """The number of neighbours."""
        return {"neighbours": self.neighbours}

    @property
    def columns(self) -> tuple[str, ...]:
        """One column on the scale of the events' feedback."""
        return ("neighbour_feedback",)

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, 1)."""
        close = np.where(block.seen, np.maximum(block.similarity, 0), np.float32(0))
        slots = close.shape[1]
        if slots > self.neighbours:
            edge = slots - self.neighbours
            nearest = np.partition(close, edge, axis=1)[:, edge : edge + 1]
            close = np.where(close >= nearest - np.float32(TIE), close, np.float32(0))
        return weighted_mean(block.weight, close**4)[:, None]
