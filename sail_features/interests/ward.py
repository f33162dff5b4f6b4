"""Ward's clusters of each user's events: the default way to find interests.

Agglomerative clustering of one user's liked items, as PinnerSage does it: start with
every event by itself, always unite the two clusters whose union raises the variance
least, and stop by a distance, by a number of clusters, or by both. Unlike k-means it
needs no start and no number of clusters, and its result doesn't depend on chance.

Nearest-neighbour chains find the same tree as scipy's ``linkage(method="ward")`` in
O(events^2) time and memory a user; distances cost O(events^2 dim).

References
----------
PinnerSage (Pal et al., KDD 2020, arXiv 2007.03634): Ward with a distance cut
(`match_facts.md` 2.4). Chains and the update formula: Müllner, "Modern hierarchical,
agglomerative clustering algorithms" (2011, arXiv 1109.2378). At most so many clusters
beside the distance: chosen here (`match_facts.md` 2.1).
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray


@njit(parallel=True, cache=True, nogil=True)
def ward_labels(
    vectors: NDArray[np.float32],
    offsets: NDArray[np.int64],
    max_interests: int,
    distance_cut: float,
) -> NDArray[np.int32]:
    """Return the cluster of each event, numbered from 0 within its stretch.

    Parameters
    ----------
    vectors : shape (events, dim), the stretches one after the other.
    offsets : shape (stretches + 1,), where each begins; a stretch is clustered alone.
    max_interests : unite until at most this many are left.
    distance_cut : also unite clusters up to this far apart, on scipy's scale, where two
        single events are as far apart as their vectors; 0 unites only equal vectors.

    Notes
    -----
    Merges of exactly equal height are made together, as scipy's ``fcluster`` does, so
    fewer than ``max_interests`` may be left. Each stretch is one thread's, so results
    don't depend on the number of threads.

    Examples
    --------
    >>> points = np.float32([[0, 0], [0, 1], [9, 9], [5, 5], [5, 5]])
    >>> ward_labels(points, np.array([0, 3, 5]), 2, 0.0)
    array([0, 0, 1, 0, 0], dtype=int32)
    """
    labels = np.empty(len(vectors), np.int32)
    for stretch in prange(len(offsets) - 1):
        start, stop = offsets[stretch], offsets[stretch + 1]
        if stop - start > 0:
            distance = squared_distances(vectors[start:stop])
            left, right, height = ward_merges(distance)
            cut = cut_height(height, max_interests, distance_cut)
            label_components(left, right, height <= cut, labels[start:stop])
    return labels


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def squared_distances(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squared Euclidean distances, shape (events, events); equal vectors are at 0.

    Differences, not products, so that nothing cancels; four columns share each load.
    """
    count, dim = vectors.shape
    distance = np.empty((count, count))
    for row in range(count):
        one = vectors[row]
        distance[row, row] = np.inf
        column = row + 1
        while column + 4 <= count:
            a, b = vectors[column], vectors[column + 1]
            c, d = vectors[column + 2], vectors[column + 3]
            sum_a = sum_b = sum_c = sum_d = np.float32(0)
            for place in range(dim):
                value = one[place]
                sum_a += (value - a[place]) * (value - a[place])
                sum_b += (value - b[place]) * (value - b[place])
                sum_c += (value - c[place]) * (value - c[place])
                sum_d += (value - d[place]) * (value - d[place])
            distance[row, column] = distance[column, row] = sum_a
            distance[row, column + 1] = distance[column + 1, row] = sum_b
            distance[row, column + 2] = distance[column + 2, row] = sum_c
            distance[row, column + 3] = distance[column + 3, row] = sum_d
            column += 4
        while column < count:
            last = vectors[column]
            total = np.float32(0)
            for place in range(dim):
                total += (one[place] - last[place]) * (one[place] - last[place])
            distance[row, column] = distance[column, row] = total
            column += 1
    return distance


@njit(cache=True, nogil=True)
def ward_merges(
    distance: NDArray[np.float64],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return the events - 1 merges: two members, one of each cluster, and the squared height.

    ``distance``, from `squared_distances`, is used up. Follows nearest neighbours until
    two are each other's; those may be united at once, because Ward's distance only grows.
    """
    count = len(distance)
    left = np.empty(count - 1, np.int32)
    right = np.empty(count - 1, np.int32)
    height = np.empty(count - 1)
    size = np.ones(count)
    alive = np.arange(count)
    chain = np.empty(count + 1, np.int32)
    depth = 0
    for merge in range(count - 1):
        if depth == 0:
            chain[0] = alive[0]
            depth = 1
        while True:
            tip = chain[depth - 1]
            row = distance[tip]
            nearest = chain[depth - 2] if depth > 1 else alive[0] if alive[0] != tip else alive[1]
            best = row[nearest]
            for other in alive[: count - merge]:
                if row[other] < best:
                    best, nearest = row[other], other
            if depth > 1 and nearest == chain[depth - 2]:
                break
            chain[depth] = nearest
            depth += 1
        depth -= 2
        kept, gone = min(tip, nearest), max(tip, nearest)
        left[merge], right[merge], height[merge] = kept, gone, best
        _unite(distance, size, alive[: count - merge], kept, gone)
    return left, right, height


@njit(cache=True, nogil=True)
def _unite(
    distance: NDArray[np.float64],
    size: NDArray[np.float64],
    alive: NDArray[np.int64],
    kept: int,
    gone: int,
) -> None:
    """Put cluster ``gone`` into ``kept``: Ward's update of all distances to it."""
    between = distance[kept, gone]
    place = 0
    for other in alive:
        if other == gone:
            continue
        alive[place] = other
        place += 1
        if other != kept:
            joined = (
                (size[kept] + size[other]) * distance[kept, other]
                + (size[gone] + size[other]) * distance[gone, other]
                - size[other] * between
            ) / (size[kept] + size[gone] + size[other])
            distance[kept, other] = distance[other, kept] = joined
    size[kept] += size[gone]


@njit(cache=True, nogil=True)
def cut_height(height: NDArray[np.float64], max_interests: int, distance_cut: float) -> float:
    """Return the squared height up to which merges are made."""
    needed = len(height) + 1 - max_interests
    cut = np.float64(distance_cut) ** 2
    if needed > 0:
        cut = max(cut, np.sort(height)[needed - 1])
    return cut


@njit(cache=True, nogil=True)
def label_components(
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    made: NDArray[np.bool_],
    labels: NDArray[np.int32],
) -> None:
    """Give the clusters that the made merges leave numbers, by their first events."""
    root = np.arange(len(labels))
    for merge in np.flatnonzero(made):
        one, other = _find(root, left[merge]), _find(root, right[merge])
        root[max(one, other)] = min(one, other)
    clusters = 0
    for event in range(len(labels)):
        first = _find(root, event)
        if first == event:
            labels[event] = clusters
            clusters += 1
        else:
            labels[event] = labels[first]


@njit(cache=True, nogil=True)
def _find(root: NDArray[np.int64], event: int) -> int:
    while root[event] != event:
        root[event] = root[root[event]]
        event = root[event]
    return event
