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

from sail_features.match.block import Floats, HistoryBlock, mean_of_top, weighted_mean


@dataclass(frozen=True)
class Contrast:
    """Differences of mean, maximum and top-5 mean between liked and disliked events.

    Null where either side is empty: no difference can be told.

    Examples
    --------
    >>> block = HistoryBlock(*(np.float32([x]) for x in ([0.75, 0.25], [1, -1], [1, 1])),
    ...                      seen=np.array([[True, True]]))
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
        liked, disliked = block.positive_descending, block.negative_descending
        means = [
            weighted_mean(block.similarity, side.astype(np.float32))
            for side in (block.positive, block.negative)
        ]
        return np.stack(
            [
                means[0] - means[1],
                mean_of_top(liked, 1) - mean_of_top(disliked, 1),
                mean_of_top(liked, 5) - mean_of_top(disliked, 5),
            ],
            axis=1,
        )
