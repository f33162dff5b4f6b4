"""Similarity to what the user liked, less similarity to what they did not.

A target that resembles everything in a catalogue resembles the disliked items
too; the difference cancels that. On real ratings this carries most of the lift of
content (`judge_facts.md` 5.1: +24 to +88 of 1e-4 AUC). The negatives are the
items shown and not clicked, low ratings and returns. The idea of skipped items as
negatives in matching: SAIL part B9 of `sail_method.md`; the definition is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from sail_features.match.block import (
    DISLIKED,
    LIKED,
    Floats,
    HistoryBlock,
    mean_of_top,
)
from sail_features.match.sums import mean_of


@dataclass(frozen=True)
class Contrast:
    """Differences of mean, maximum and top-5 mean between liked and disliked events.

    Null where either side is empty: no difference can be told.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent, build_block
    >>> block = build_block(Past([PastEvent(0.75), PastEvent(0.25, weight=-1)]))
    >>> Contrast().compute(block)
    array([[0.5, 0.5, 0.5]], dtype=float32)
    """

    name: str = "contrast"
    version: int = 1

    @property
    def parameters(self) -> dict[str, object]:
        """None."""
        return {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Three columns in [-2, 2]."""
        return ("contrast_mean", "contrast_max", "contrast_top5_mean")

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, 3)."""
        values: Floats = _compute(block)
        return values


@njit(cache=True, nogil=True)
def _compute(block: HistoryBlock) -> Floats:
    out = np.empty((len(block.bounds), 3), np.float32)
    for row in range(len(out)):
        bounds = block.bounds[row]
        liked, disliked = block.top[row, LIKED], block.top[row, DISLIKED]
        of_liked = block.similarity[bounds[LIKED] : bounds[LIKED + 1]]
        of_disliked = block.similarity[bounds[DISLIKED] : bounds[DISLIKED + 1]]
        out[row, 0] = mean_of(of_liked) - mean_of(of_disliked)
        out[row, 1] = mean_of_top(liked, 1) - mean_of_top(disliked, 1)
        out[row, 2] = mean_of_top(liked, 5) - mean_of_top(disliked, 5)
    return out
