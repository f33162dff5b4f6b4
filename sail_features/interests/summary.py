"""From clusters of events to interests: centroid, medoid, weight, size, newest event."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sail_features.interests.medoid import find_medoids
from sail_features.interests.products import add_scaled, dot


class Interests(NamedTuple):
    """The interests of several stretches of events, heaviest first in each stretch."""

    offsets: NDArray[np.int64]  # (stretches + 1,)
    vectors: NDArray[np.float32]  # (interests, dim) unit length
    weight: NDArray[np.float32]  # (interests,) sums to 1 a stretch
    size: NDArray[np.int32]  # (interests,) events in it
    newest: NDArray[np.int64]  # (interests,) place of its newest event
    medoid: NDArray[np.int64]  # (interests,) place of its most central event


def summarise_clusters(
    vectors: NDArray[np.float32],
    recency: NDArray[np.float32],
    labels: NDArray[np.int32],
    offsets: NDArray[np.int64],
) -> Interests:
    """Turn labelled events into interests.

    Parameters
    ----------
    vectors : shape (events, dim), of unit length, oldest first in each stretch.
    recency : shape (events,), above 0, from `compute_recency`.
    labels : shape (events,), numbered from 0 in each stretch; -1 belongs to none.
    offsets : shape (stretches + 1,), where each stretch begins.

    Returns
    -------
    Interests whose vector is the direction of the recency-weighted mean of their events;
    the medoid's vector where that mean has no direction. Equal weights: the interest
    whose first event is older comes first.

    Examples
    --------
    >>> found = summarise_clusters(np.float32([[1, 0], [0, 1], [0, 1]]), np.ones(3, np.float32),
    ...                            np.int32([0, 1, 1]), np.array([0, 3]))
    >>> found.vectors.tolist(), found.size.tolist(), found.newest.tolist()
    ([[0.0, 1.0], [1.0, 0.0]], [2, 1], [2, 0])
    """
    counts = _count_clusters(labels, offsets)
    places = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    found = Interests(
        places,
        np.zeros((places[-1], vectors.shape[1]), np.float32),
        np.zeros(places[-1], np.float32),
        np.zeros(places[-1], np.int32),
        np.zeros(places[-1], np.int64),
        np.zeros(places[-1], np.int64),
    )
    _summarise(vectors, recency, labels, offsets, *found)
    return found


@njit(cache=True, nogil=True)
def _count_clusters(labels: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.zeros(len(offsets) - 1, np.int64)
    for stretch in range(len(counts)):
        for event in range(offsets[stretch], offsets[stretch + 1]):
            counts[stretch] = max(counts[stretch], labels[event] + 1)
    return counts


@njit(parallel=True, cache=True, nogil=True)
def _summarise(
    vectors: NDArray[np.float32],
    recency: NDArray[np.float32],
    labels: NDArray[np.int32],
    offsets: NDArray[np.int64],
    places: NDArray[np.int64],
    centroids: NDArray[np.float32],
    weight: NDArray[np.float32],
    size: NDArray[np.int32],
    newest: NDArray[np.int64],
    medoid: NDArray[np.int64],
) -> None:
    """Fill the last six arrays."""
    for stretch in prange(len(offsets) - 1):
        start, stop = offsets[stretch], offsets[stretch + 1]
        first, last = places[stretch], places[stretch + 1]
        mine, own = labels[start:stop], recency[start:stop]
        rank = _rank_by_importance(mine, own, last - first, weight[first:last])
        for event in range(start, stop):
            if labels[event] >= 0:
                interest = first + rank[labels[event]]
                add_scaled(centroids[interest], vectors[event], recency[event])
                size[interest] += 1
                newest[interest] = event
        find_medoids(vectors[start:stop], mine, rank, start, medoid[first:last])
        for interest in range(first, last):
            length = np.sqrt(dot(centroids[interest], centroids[interest]))
            if length > 1e-6 * weight[interest]:
                centroids[interest] /= length
            else:
                centroids[interest] = vectors[medoid[interest]]


@njit(cache=True, nogil=True)
def _rank_by_importance(
    labels: NDArray[np.int32],
    recency: NDArray[np.float32],
    clusters: int,
    weight: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Fill ``weight`` from high to low; return each cluster's place in it."""
    importance = np.zeros(clusters)
    for event in range(len(labels)):
        if labels[event] >= 0:
            importance[labels[event]] += recency[event]
    order = np.argsort(-importance, kind="mergesort")
    rank = np.empty(clusters, np.int64)
    for place in range(clusters):
        rank[order[place]] = place
        weight[place] = importance[order[place]] / importance.sum()
    return rank
