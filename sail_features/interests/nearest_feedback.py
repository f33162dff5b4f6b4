"""How a user responds to each interest: mean feedback of the events nearest to it.

Every event of the history, liked, disliked or passed over, belongs to the interest of
highest cosine. The mean of their signed feedback tells an interest that is shown and
clicked from one that is shown and passed over. On real ratings features by interest
cluster lifted AUC by .0007 to .0021 (`measured.md` 5). Definition chosen here.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sail_features.interests.products import dot


@njit(parallel=True, cache=True, nogil=True)
def mean_feedback(
    interests: NDArray[np.float32],
    interest_offsets: NDArray[np.int64],
    vectors: NDArray[np.float32],
    weight: NDArray[np.float32],
    offsets: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return each interest's mean signed feedback; NaN where no event is nearest to it.

    Parameters
    ----------
    interests : shape (interests, dim), of unit length.
    interest_offsets : shape (users + 1,), where each user's interests begin.
    vectors, weight : shape (events, dim) and (events,): the histories.
    offsets : shape (users + 1,), where each user's history begins.

    Examples
    --------
    >>> mean_feedback(np.eye(2, dtype=np.float32), np.array([0, 2]),
    ...               np.float32([[1, 0], [0.8, 0.6]]), np.float32([1, -0.5]), np.array([0, 2]))
    array([0.25,  nan], dtype=float32)
    """
    mean = np.full(len(interests), np.nan, np.float32)
    for user in prange(len(offsets) - 1):
        first, last = interest_offsets[user], interest_offsets[user + 1]
        total, count = np.zeros(last - first), np.zeros(last - first)
        for event in range(offsets[user], offsets[user + 1]):
            nearest, similarity = -1, np.float32(-np.inf)
            for place in range(last - first):
                found = dot(interests[first + place], vectors[event])
                if found > similarity:
                    nearest, similarity = place, found
            if nearest >= 0:
                total[nearest] += weight[event]
                count[nearest] += 1
        for place in range(last - first):
            if count[place] > 0:
                mean[first + place] = total[place] / count[place]
    return mean
