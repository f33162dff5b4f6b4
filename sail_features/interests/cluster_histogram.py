"""A user's events counted by global cluster: long histories at a few bytes an interest.

Counts need no vectors of the user and no memory of single events, are comparable between
users, and tell niche interests from the ones that everybody has.

References
----------
Trinity (Yan et al., KDD 2024, arXiv 2402.02842; `sail_method.md` B7): histograms over
both levels of clusters; a user's long-tail clusters are those with at least 3 events that
are rare in the whole log (`global_clusters.find_tail`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sail_features.history import EventLog, HistorySlices
from sail_features.interests.importance import compute_recency
from sail_features.interests.seen import flatten_slices


@dataclass(frozen=True)
class ClusterHistogram:
    """How often, and when last, each snapshot's events fell into each cluster.

    ``version`` names the clusters. Entries are sorted by cluster within a snapshot;
    clusters without an event have none.
    """

    version: str
    offsets: NDArray[np.int64]  # (snapshots + 1,)
    cluster: NDArray[np.int32]  # (entries,)
    count: NDArray[np.int32]  # (entries,) events
    weight: NDArray[np.float32]  # (entries,) decayed share, sums to 1 a snapshot
    newest_us: NDArray[np.int64]  # (entries,) time of the newest event


def compute_histogram(
    log: EventLog,
    slices: HistorySlices,
    cluster_of: NDArray[np.int32],
    *,
    version: str,
    half_life_days: float,
) -> ClusterHistogram:
    """Count the events that each snapshot sees by cluster.

    Parameters
    ----------
    log : events whose ``item`` is a row of ``cluster_of``.
    slices : which of them each snapshot sees; strictly before its moment.
    cluster_of : shape (items,), of either level.
    version : `GlobalClusters.version`.
    half_life_days : after this long an event counts half in ``weight``.

    Examples
    --------
    >>> from sail_features.history import sort_events
    >>> log = sort_events(np.zeros(3, np.int64), np.arange(3), np.array([0, 1, 1]), np.ones(3))
    >>> seen = HistorySlices(np.array([0]), np.array([3]))
    >>> found = compute_histogram(log, seen, np.int32([7, 5]), version="v", half_life_days=1)
    >>> found.cluster.tolist(), found.count.tolist(), found.newest_us.tolist()
    ([5, 7], [2, 1], [2, 0])
    """
    place, offsets = flatten_slices(slices)
    snapshot = np.repeat(np.arange(len(slices.start)), slices.count)
    clusters = int(cluster_of.max(initial=0)) + 1
    code = snapshot * clusters + cluster_of[log.item[place]]
    entry, inverse, count = np.unique(code, return_inverse=True, return_counts=True)
    recency = compute_recency(log.time_us[place], offsets, half_life_days)
    weight = np.bincount(inverse, recency, minlength=len(entry))
    total = np.bincount(entry // clusters, weight, minlength=len(slices.start))
    newest = np.full(len(entry), np.iinfo(np.int64).min)
    np.maximum.at(newest, inverse, log.time_us[place])
    return ClusterHistogram(
        version,
        np.searchsorted(entry, np.arange(len(slices.start) + 1) * clusters).astype(np.int64),
        (entry % clusters).astype(np.int32),
        count.astype(np.int32),
        (weight / total[entry // clusters]).astype(np.float32),
        newest,
    )


def find_long_tail_interests(
    histogram: ClusterHistogram, tail: NDArray[np.bool_], min_count: int = 3
) -> NDArray[np.bool_]:
    """Tell for each entry whether it is a niche interest: a rare cluster, used repeatedly."""
    niche: NDArray[np.bool_] = tail[histogram.cluster] & (histogram.count >= min_count)
    return niche
