"""What the user did with items of the target's category, and how similar those are.

SIM's hard search keeps the behaviours that share the target's category (arXiv
2006.05639, section 3.1); QARM does the same with semantic codes (arXiv 2411.11739).
A ranker then attends over them; here they are summarised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from sail_features.match.block import Floats, HistoryBlock


@dataclass(frozen=True)
class CategoryMatch:
    """Count, share, feedback and recency of same-category events, and similarity to them.

    All null where the target's category is not known. Where the history holds no
    event of the category, the count is 0 and so is the share (null where the history is
    empty); feedback and age are null. The similarities are over the liked ones among
    them, null where there is none. A history item without a category is of no category.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent, build_block
    >>> liked, disliked = PastEvent(0.5, 1, 2, True), PastEvent(0.9, -0.5, 4, True)
    >>> others = [PastEvent(0.1), PastEvent(0.2)]
    >>> CategoryMatch().compute(build_block(Past([liked, disliked, *others])))
    array([[2.  , 0.5 , 0.5 , 0.5 , 0.25, 2.  ]], dtype=float32)
    """

    name: str = "category_match"
    version: int = 1

    @property
    def parameters(self) -> dict[str, object]:
        """None."""
        return {}

    @property
    def columns(self) -> tuple[str, ...]:
        """A count, a share, two similarities, a mean feedback and an age in days."""
        return (
            "category_count",
            "category_share",
            "category_sim_mean",
            "category_sim_max",
            "category_feedback",
            "category_age_days",
        )

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, 6)."""
        values: Floats = _compute(block)
        return values


@njit(cache=True, nogil=True)
def _compute(block: HistoryBlock) -> Floats:
    out = np.full((len(block.bounds), 6), np.nan, np.float32)
    same = np.empty(len(block.similarity) + 1, np.int64)
    for row in range(len(out)):
        if not block.categorised[row]:
            continue
        start, liked_to, stop = block.bounds[row, 0], block.bounds[row, 1], block.bounds[row, 3]
        count = 0
        for cell in range(start, stop):
            same[count] = cell  # the place moves on only for those that are kept
            count += block.same_category[cell]
        liked, total, feedback = 0, 0.0, 0.0
        highest, youngest = -np.inf, np.inf
        for cell in same[:count]:
            feedback += block.weight[cell]
            youngest = min(youngest, block.age_days[cell])
            if cell < liked_to:
                liked += 1
                total += block.similarity[cell]
                highest = max(highest, block.similarity[cell])
        out[row, 0] = count
        if stop > start:
            out[row, 1] = count / (stop - start)
        if liked:
            out[row, 2] = total / liked
            out[row, 3] = highest
        if count:
            out[row, 4] = feedback / count
            out[row, 5] = youngest
    return out
