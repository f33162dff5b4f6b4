"""The medoid: the event that stands for an interest.

Of a cluster's members, the one with the least sum of squared distances to all others.
That sum is, but for a constant, a member's product with the sum of all, so it costs
O(events dim), not O(events^2 dim). An item's id says what an interest is
about, takes 8 bytes where a centroid takes two a dimension, and stays valid when the
encoder changes.

References
----------
PinnerSage (Pal et al., KDD 2020, arXiv 2007.03634; `match_facts.md` 2.4).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sail_features.interests.products import add_scaled, dot

TIE: Final = 1e-5
"""Members whose mean squared distances differ by no more are equally central."""


@njit(cache=True, nogil=True)
def find_medoids(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int32],
    rank: NDArray[np.int64],
    first_event: int,
    medoid: NDArray[np.int64],
) -> None:
    """Fill ``medoid`` with the place, from ``first_event``, of each cluster's medoid.

    Parameters
    ----------
    vectors, labels : of one user's events, oldest first; a label of -1 belongs to none.
    rank : the place in ``medoid`` of each cluster.

    Notes
    -----
    Of members that are equally central, as any two are between themselves, the newest
    wins; `TIE` keeps rounding from deciding.
    """
    sums = np.zeros((len(rank), vectors.shape[1]), np.float32)
    count = np.zeros(len(rank))
    for event in range(len(labels)):
        if labels[event] >= 0:
            add_scaled(sums[labels[event]], vectors[event], np.float32(1))
            count[labels[event]] += 1
    best = np.full(len(rank), -np.inf)
    for event in range(len(labels)):
        cluster = labels[event]
        if cluster >= 0:
            own = dot(vectors[event], vectors[event])
            central = 2 * dot(sums[cluster], vectors[event]) - count[cluster] * own
            if central >= best[cluster] - TIE * count[cluster]:
                best[cluster] = max(best[cluster], central)
                medoid[rank[cluster]] = first_event + event
