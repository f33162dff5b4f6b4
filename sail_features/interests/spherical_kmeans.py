"""Spherical k-means of each user's events: a few rounds from a start without chance.

Centroids and events have unit length, and an event belongs to the centroid of highest
cosine. The start is farthest-first: the newest event, then again and again the event
that is least similar to all chosen ones, so that equal input gives equal clusters.
Cost a user: O(rounds events max_interests dim).

References
----------
Dhillon and Modha, "Concept decompositions for large sparse text data using clustering"
(Machine Learning 42, 2001). Farthest-first: Gonzalez, "Clustering to minimize the
maximum intercluster distance" (1985). Centroids weighted by recency, an
empty one kept where it was: chosen here.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sail_features.interests.products import add_scaled, dot, renumber


@njit(parallel=True, cache=True, nogil=True)
def kmeans_labels(
    vectors: NDArray[np.float32],
    recency: NDArray[np.float32],
    offsets: NDArray[np.int64],
    max_interests: int,
    rounds: int = 10,
) -> NDArray[np.int32]:
    """Return the cluster of each event, numbered from 0 within its stretch.

    Parameters
    ----------
    vectors : shape (events, dim), of unit length, oldest first in each stretch.
    recency : shape (events,), above 0: how much an event counts in its centroid.
    offsets : shape (stretches + 1,), where each begins; a stretch is clustered alone.
    rounds : at most so many; fewer where nothing moves any more.

    Examples
    --------
    >>> points = np.float32([[1, 0], [0.8, 0.6], [0, 1], [0, 1]])
    >>> kmeans_labels(points, np.ones(4, np.float32), np.array([0, 4]), 2)
    array([0, 0, 1, 1], dtype=int32)
    """
    labels = np.empty(len(vectors), np.int32)
    for stretch in prange(len(offsets) - 1):
        start, stop = offsets[stretch], offsets[stretch + 1]
        if stop - start > 0:
            own, mine = vectors[start:stop], labels[start:stop]
            centroids = farthest_first(own, max_interests)
            for _ in range(rounds):
                if not _assign(own, centroids, mine):
                    break
                _move(own, recency[start:stop], mine, centroids)
            renumber(mine, len(centroids))
    return labels


@njit(cache=True, nogil=True)
def farthest_first(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return at most ``count`` of the vectors, each far from those before; none twice."""
    centroids = np.empty((min(count, len(vectors)), vectors.shape[1]), np.float32)
    nearest = np.full(len(vectors), -np.inf, np.float32)
    chosen = np.intp(len(vectors) - 1)
    for place in range(len(centroids)):
        if place > 0 and nearest[chosen] > 1 - 1e-6:
            return centroids[:place]
        centroids[place] = vectors[chosen]
        for event in range(len(vectors)):
            nearest[event] = max(nearest[event], dot(vectors[event], centroids[place]))
        chosen = np.argmin(nearest)
    return centroids


@njit(cache=True, nogil=True)
def _assign(
    vectors: NDArray[np.float32], centroids: NDArray[np.float32], labels: NDArray[np.int32]
) -> bool:
    """Give each event its most similar centroid; tell whether anything changed."""
    changed = False
    for event in range(len(vectors)):
        best, similarity = np.int32(0), np.float32(-np.inf)
        for place in range(len(centroids)):
            found = dot(vectors[event], centroids[place])
            if found > similarity:
                best, similarity = np.int32(place), found
        changed |= labels[event] != best
        labels[event] = best
    return changed


@njit(cache=True, nogil=True)
def _move(
    vectors: NDArray[np.float32],
    recency: NDArray[np.float32],
    labels: NDArray[np.int32],
    centroids: NDArray[np.float32],
) -> None:
    """Put each centroid at its events' mean direction; one without a direction stays."""
    sums = np.zeros_like(centroids)
    for event in range(len(vectors)):
        add_scaled(sums[labels[event]], vectors[event], recency[event])
    for place in range(len(centroids)):
        length = np.sqrt(dot(sums[place], sums[place]))
        if length > 1e-6:
            centroids[place] = sums[place] / length
