"""How similar the target is to what the user liked: maximum, means, spread.

The plainest summary of a user's past, and the first that any paper compares with
(SimScore in arXiv 2407.19467, section 4; the similarity module of LEMUR, arXiv
2511.10962). On real ratings it adds little by itself (`measured.md` 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sail_features.match.block import (
    Floats,
    HistoryBlock,
    mean_of_top,
    nan_where_empty,
    weighted_mean,
)

MAX_AGE_DAYS: Final = np.float32(1e9)
"""Stands in for the youngest age where nothing was liked."""


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
    youngest liked event: the mean is the same, and no half-life is too short for
    float32. ``sim_weight_mean``: weights are the events' own feedback. Cost:
    O(slots log slots) a row.

    Examples
    --------
    >>> block = HistoryBlock(*(np.float32([x]) for x in ([0.8, 0.4], [1, 1], [1, 1])),
    ...                      seen=np.array([[True, True]]))
    >>> values = SimilarityStatistics().compute(block)[0]
    >>> dict(zip(SimilarityStatistics().columns[:2], values[:2].round(1).tolist()))
    {'sim_max': 0.800000011920929, 'sim_mean': 0.6000000238418579}
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
        liked = block.positive.astype(np.float32)
        top = block.positive_descending
        mean = weighted_mean(block.similarity, liked)
        # Empty slots may hold anything, and infinity times 0 is NaN: blank them first.
        weight, apart = (
            np.where(block.positive, values, np.float32(0))
            for values in (block.weight, block.similarity - mean[:, None])
        )
        age = np.where(block.positive, block.age_days, np.float32(np.inf))
        youngest = age.min(axis=1, keepdims=True, initial=MAX_AGE_DAYS)
        recency = np.exp2((youngest - age) / np.float32(self.half_life_days))
        return np.stack(
            [
                nan_where_empty(top.max(axis=1, initial=-np.inf)),
                mean,
                mean_of_top(top, 3),
                mean_of_top(top, 10),
                np.sqrt(weighted_mean(apart**2, liked)),
                weighted_mean(block.similarity, recency),
                weighted_mean(block.similarity, weight),
            ],
            axis=1,
        )
