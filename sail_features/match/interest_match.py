"""How near the target is to the user's mined interests, and what the nearest is like.

PinnerSage describes a user by several weighted interests in place of one mean
(arXiv 2007.03634, section 4); a ranker gains from the weight as much as from the
distance (`match_facts.md` 2.1). The feedback of the nearest interest is the
per-cluster rate that lifted AUC by 7 to 21 of 1e-4 (`measured.md` 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from sail_features.match.block import Floats, HistoryBlock


@dataclass(frozen=True)
class InterestMatch:
    """Similarity, weight, age, size and feedback of the nearest interest, and a mean over all.

    Null where the user had no interests mined before the row's moment. Of equally near
    interests the weightier one counts. ``interest_weighted_mean``: similarities to all
    interests, weighted by their importance.

    Notes
    -----
    Sees the newest snapshot that was mined, and was available, at or before the row's
    moment: it holds events strictly before its own time.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastInterest, build_block
    >>> tea = PastInterest(0.75, weight=0.25, size=3, age_days=9, feedback=1)
    >>> InterestMatch().compute(build_block(Past(interests=[tea, PastInterest(0.25, 0.75)])))
    array([[0.75 , 0.25 , 9.   , 3.   , 1.   , 0.375]], dtype=float32)
    """

    name: str = "interest_match"
    version: int = 1

    @property
    def parameters(self) -> dict[str, object]:
        """None."""
        return {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Five columns of the nearest interest and one of all."""
        return (
            "interest_similarity",
            "interest_weight",
            "interest_age_days",
            "interest_size",
            "interest_feedback",
            "interest_weighted_mean",
        )

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, 6)."""
        values: Floats = _compute(block)
        return values


@njit(cache=True, nogil=True)
def _compute(block: HistoryBlock) -> Floats:
    cells = block.interests
    out = np.full((len(block.bounds), 6), np.nan, np.float32)
    for row in range(len(out)):
        start, stop = cells.offsets[row], cells.offsets[row + 1]
        if start == stop:
            continue
        nearest, total, weights = start, 0.0, 0.0
        for cell in range(start, stop):
            similarity, weight = cells.similarity[cell], cells.weight[cell]
            total += np.float64(similarity) * weight
            weights += weight
            tied = similarity == cells.similarity[nearest] and weight > cells.weight[nearest]
            if tied or similarity > cells.similarity[nearest]:
                nearest = cell
        out[row, 0] = cells.similarity[nearest]
        out[row, 1] = cells.weight[nearest]
        out[row, 2] = cells.age_days[nearest]
        out[row, 3] = cells.size[nearest]
        out[row, 4] = cells.feedback[nearest]
        if weights > 0:
            out[row, 5] = total / weights
    return out
