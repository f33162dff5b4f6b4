"""Cluster histograms of Arrow tables: what a Spark task and a notebook both call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sail_features import columns as c
from sail_features.config import InterestConfig
from sail_features.embeddings import EmbeddingTable
from sail_features.history import (
    EventLog,
    HistorySlices,
    HistoryWindow,
    codes_of,
    ids_of,
    sort_events,
    times_of,
    us_of,
)
from sail_features.interests.changes import SnapshotTimes, find_changes
from sail_features.interests.cluster_histogram import (
    ClusterHistogram,
    compute_histogram,
    find_long_tail_interests,
)
from sail_features.interests.frame import id_array
from sail_features.interests.global_clusters import GlobalClusters
from sail_features.interests.seen import SeenEvents, flatten_slices, latest_of

SNAPSHOTS_A_BATCH: Final = 256
"""Rows of one result: at 2,500 likes each, some 50 MB of sorted codes."""


@dataclass(frozen=True)
class ClusteredItems:
    """Items with a vector, and the secondary cluster of each."""

    vectors: EmbeddingTable
    clusters: GlobalClusters
    secondary: NDArray[np.int32]  # (items,)

    @classmethod
    def assign(cls, vectors: EmbeddingTable, clusters: GlobalClusters) -> Self:
        """Find the cluster of each item; see `GlobalClusters.assign`."""
        return cls(vectors, clusters, clusters.assign(vectors))


def iter_cluster_tables(
    likes: pa.Table,
    items: ClusteredItems,
    times: SnapshotTimes,
    config: InterestConfig,
    changed_vectors: NDArray[np.bool_] | None = None,
) -> Iterator[pa.Table]:
    """Count the likes of all users by cluster, at each moment that changes them.

    Parameters
    ----------
    likes : columns user_id, item_id, event_timestamp, in any order; those at or after a
        moment aren't seen there. Items without a vector don't count.
    items : the catalogue.
    times : the moments.
    config : lookback, half-life, and what `ClusterConfig` says of histograms.
    changed_vectors : see `find_changes`.

    Yields
    ------
    At least one table, of at most `SNAPSHOTS_A_BATCH` rows; together sorted by user and
    moment: user_id, event_timestamp, available_at and the columns of both levels. A row is
    available from its moment, or from when its newest vector was, or from when the clusters
    had been fitted, whichever is last. Lists are empty where all likes fell out of the window.
    """
    users = ids_of(likes[c.USER_ID])
    distinct = np.unique(users)
    log = _sort_known(likes, users, items.vectors)
    window = HistoryWindow(timedelta(days=config.lookback_days), config.clusters.max_events)
    # A histogram rests on one slice of events; an interest on two.
    wanted = find_changes(SeenEvents(log, log, window, window), times, changed_vectors)
    for start in range(0, max(1, len(wanted)), SNAPSHOTS_A_BATCH):
        batch = wanted.take(slice(start, start + SNAPSHOTS_A_BATCH))
        known = _known_since(log, batch.liked, batch.time_us, items)
        yield pa.table(
            {
                c.USER_ID: id_array(distinct[batch.user]),
                c.EVENT_TIMESTAMP: times_of(batch.time_us),
                c.AVAILABLE_AT: times_of(known),
                **_columns(log, batch.liked, items, config),
            }
        )


def compute_cluster_table(
    likes: pa.Table, items: ClusteredItems, times: SnapshotTimes, config: InterestConfig
) -> pa.Table:
    """Return the tables of `iter_cluster_tables` as one."""
    return pa.concat_tables(iter_cluster_tables(likes, items, times, config))


def _sort_known(likes: pa.Table, users: NDArray[np.generic], vectors: EmbeddingTable) -> EventLog:
    """Turn ids into codes of users and rows of vectors; leave out items without one."""
    (user,) = codes_of(users)
    row = vectors.rows_of(ids_of(likes[c.ITEM_ID]))
    known = row >= 0
    time_us = us_of(likes[c.EVENT_TIMESTAMP])[known]
    return sort_events(user[known], time_us, row[known], np.ones(len(time_us), np.float32))


def _known_since(
    log: EventLog, seen: HistorySlices, time_us: NDArray[np.int64], items: ClusteredItems
) -> NDArray[np.int64]:
    place, offsets = flatten_slices(seen)
    newest = latest_of(items.vectors.available_at_us[log.item[place]], offsets)
    return np.maximum(np.maximum(newest, time_us), items.clusters.trained_until_us)


def _columns(
    log: EventLog, seen: HistorySlices, items: ClusteredItems, config: InterestConfig
) -> dict[str, pa.Array]:
    """Return the histograms of both levels, and which secondary clusters are niche interests."""
    clusters = items.clusters

    def count(cluster_of: NDArray[np.int32]) -> ClusterHistogram:
        return compute_histogram(
            log, seen, cluster_of, version=clusters.version, half_life_days=config.half_life_days
        )

    primary, secondary = count(clusters.parent[items.secondary]), count(items.secondary)
    niche = find_long_tail_interests(secondary, clusters.tail, config.clusters.min_tail_count)
    before = np.concatenate([[0], np.cumsum(niche)])[secondary.offsets]
    return {
        c.PRIMARY_CLUSTERS: _lists(primary.cluster, primary.offsets),
        c.PRIMARY_COUNTS: _lists(primary.count, primary.offsets),
        c.PRIMARY_WEIGHTS: _lists(primary.weight, primary.offsets),
        c.PRIMARY_TIMES: _lists(primary.newest_us, primary.offsets),
        c.SECONDARY_CLUSTERS: _lists(secondary.cluster, secondary.offsets),
        c.SECONDARY_COUNTS: _lists(secondary.count, secondary.offsets),
        c.SECONDARY_WEIGHTS: _lists(secondary.weight, secondary.offsets),
        c.SECONDARY_TIMES: _lists(secondary.newest_us, secondary.offsets),
        c.LONG_TAIL_CLUSTERS: _lists(secondary.cluster[niche], before),
    }


def _lists(values: NDArray[np.generic], offsets: NDArray[np.int64]) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
