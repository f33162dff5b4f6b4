"""How similar the target is to what the user liked: maximum, means, spread.

The plainest summary of a user's past, and the first that any paper compares with
(SimScore in arXiv 2407.19467, section 4; the similarity module of LEMUR, arXiv
2511.10962). On real ratings it adds little by itself (`measured.md` 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from sail_features.match.block import LIKED, Floats, HistoryBlock, mean_of_top
from sail_features.match.powers import power_of_two
from sail_features.match.sums import dot_of, mean_of, sum_of


@dataclass(frozen=True)
class SimilarityStatistics:
    """Maximum, mean, top-3 and top-10 mean, deviation and two weighted means.

    All are over liked events (feedback above 0); null where there is none, and
    the deviation is 0 where there is one.

    Parameters
    ----------
    half_life_days : an event of this age counts half in ``sim_recency_mean``.

    Notes
    -----
    ``sim_recency_mean``: weights 2^(-age / half-life), with ages counted from the
    youngest liked event: the mean is the same, and no half-life is too short.
    ``sim_weight_mean``: weights are the events' own feedback, such as a watch ratio,
    a quantity or a rating. Cost: O(events) a row.

    Examples
    --------
    >>> from sail_features.match.past import Past, PastEvent, build_block
    >>> block = build_block(Past([PastEvent(0.75, weight=3), PastEvent(0.25)]))
    >>> SimilarityStatistics().compute(block).round(3)
    array([[0.75 , 0.5  , 0.5  , 0.5  , 0.25 , 0.5  , 0.625]], dtype=float32)
    """

    half_life_days: float = 30.0
    name: str = "similarity_statistics"
    version: int = 1

    @property
    def parameters(self) -> dict[str, object]:
        """The half-life."""
        return {"half_life_days": self.half_life_days}

    @property
    def columns(self) -> tuple[str, ...]:
        """Seven columns, all similarities in [-1, 1] but the deviation."""
        return (
            "sim_max",
            "sim_mean",
            "sim_top3_mean",
            "sim_top10_mean",
            "sim_std",
            "sim_recency_mean",
            "sim_weight_mean",
        )

    def compute(self, block: HistoryBlock) -> Floats:
        """Return shape (rows, 7)."""
        values: Floats = _compute(block, self.half_life_days)
        return values


@njit(cache=True, nogil=True)
def _compute(block: HistoryBlock, half_life_days: float) -> Floats:
    out = np.full((len(block.bounds), 7), np.nan, np.float32)
    recency = _recency(block, np.float32(1 / half_life_days))
    for row in range(len(out)):
        start, stop = block.bounds[row, LIKED], block.bounds[row, LIKED + 1]
        if start == stop:
            continue
        similarity, weight = block.similarity[start:stop], block.weight[start:stop]
        recent, top = recency[start:stop], block.top[row, LIKED]
        mean = mean_of(similarity)
        variance = dot_of(similarity, similarity) / (stop - start) - mean * mean
        out[row, 0] = top[0]
        out[row, 1] = mean
        out[row, 2] = mean_of_top(top, 3)
        out[row, 3] = mean_of_top(top, 10)
        out[row, 4] = math.sqrt(max(variance, 0.0))
        out[row, 5] = dot_of(similarity, recent) / sum_of(recent)
        out[row, 6] = dot_of(similarity, weight) / sum_of(weight)
    return out


@njit(cache=True, nogil=True)
def _recency(block: HistoryBlock, halvings_per_day: np.float32) -> Floats:
    """Return what each liked event counts beside the row's youngest; 1 for other events."""
    recency = np.zeros(len(block.similarity), np.float32)
    for row in range(len(block.bounds)):
        start, stop = block.bounds[row, LIKED], block.bounds[row, LIKED + 1]
        if start < stop:
            youngest = block.age_days[stop - 1]
            recency[start:stop] = (youngest - block.age_days[start:stop]) * halvings_per_day
    for cell in range(len(recency)):
        # All in one run: a compiler's vectors are wasted on the ends of short ones.
        recency[cell] = power_of_two(recency[cell])
    return recency
