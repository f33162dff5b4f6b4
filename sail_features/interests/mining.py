"""Interests of many users at many moments: histories in, snapshots out.

Liked events form interests; all events of the history, of any feedback, tell how the
user responds to them. Works through small blocks, so memory doesn't grow with the number of
snapshots beyond their result, which depends on neither block, order nor threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sail_features.config import InterestConfig
from sail_features.embeddings import EmbeddingTable
from sail_features.interests.gather import gather_vectors
from sail_features.interests.importance import compute_recency
from sail_features.interests.nearest_feedback import mean_feedback
from sail_features.interests.online_leader import leader_labels
from sail_features.interests.seen import SeenEvents, SnapshotSlices, flatten_slices, latest_of
from sail_features.interests.snapshots import InterestSnapshots
from sail_features.interests.spherical_kmeans import kmeans_labels
from sail_features.interests.summary import summarise_clusters
from sail_features.interests.ward import ward_labels

EVENTS_A_BLOCK: Final = 16_384
"""Their vectors take 25 MB at 384 dimensions; smaller blocks wait for threads more often."""


@dataclass(frozen=True)
class MinedInterests:
    """Snapshots, and for each interest the row of its medoid's vector."""

    snapshots: InterestSnapshots
    medoid: NDArray[np.int64]


def mine_interests(
    seen: SeenEvents, wanted: SnapshotSlices, vectors: EmbeddingTable, config: InterestConfig
) -> MinedInterests:
    """Mine the interests of each wanted snapshot.

    Parameters
    ----------
    seen : the events.
    wanted : whose interests as of when, from `SeenEvents.slices` or `find_changes`;
        sorted by user, then time.
    vectors : of the items; ``seen`` refers to its rows.
    config : algorithm and its parameters.

    Returns
    -------
    One snapshot a (user, time), without interests where nothing liked was seen. It is
    available from its own time, or from that of its newest vector if that is later.

    Notes
    -----
    Cost a snapshot: that of the algorithm, see its file, plus
    O(history max_interests dim) for the feedback.
    """
    sizes = wanted.liked.count + wanted.history.count
    parts = [_mine_block(seen, wanted.take(block), vectors, config) for block in _blocks(sizes)]
    return _join(parts, wanted)


def label_events(
    vectors: NDArray[np.float32],
    time_us: NDArray[np.int64],
    recency: NDArray[np.float32],
    offsets: NDArray[np.int64],
    config: InterestConfig,
) -> NDArray[np.int32]:
    """Return each event's cluster in its stretch, by the configured algorithm."""
    if config.algorithm == "kmeans":
        return kmeans_labels(vectors, recency, offsets, config.max_interests)
    if config.algorithm == "leader":
        return leader_labels(
            vectors,
            time_us,
            offsets,
            config.max_interests,
            similarity=config.leader_similarity,
            half_life_days=config.half_life_days,
        )
    return ward_labels(vectors, offsets, config.max_interests, config.distance_cut)


@dataclass(frozen=True)
class _Block:
    """The interests of some snapshots; ``available_at_us`` is that of the newest vector."""

    count: NDArray[np.int64]
    available_at_us: NDArray[np.int64]
    per_interest: dict[str, NDArray[Any]]


def _mine_block(
    seen: SeenEvents, wanted: SnapshotSlices, vectors: EmbeddingTable, config: InterestConfig
) -> _Block:
    place, offsets = flatten_slices(wanted.liked)
    item, time_us = seen.liked.item[place], seen.liked.time_us[place]
    member = gather_vectors(vectors.vectors, item)
    recency = compute_recency(time_us, offsets, config.half_life_days)
    labels = label_events(member, time_us, recency, offsets, config)
    found = summarise_clusters(member, recency, labels, offsets)
    nearby, nearby_offsets = flatten_slices(wanted.history)
    nearby_item = seen.history.item[nearby]
    feedback = mean_feedback(
        found.vectors,
        found.offsets,
        gather_vectors(vectors.vectors, nearby_item),
        seen.history.weight[nearby],
        nearby_offsets,
    )
    known = np.maximum(
        latest_of(vectors.available_at_us[item], offsets),
        latest_of(vectors.available_at_us[nearby_item], nearby_offsets),
    )
    per_interest: dict[str, NDArray[Any]] = {
        "vectors": found.vectors,
        "weight": found.weight,
        "size": found.size,
        "newest_us": time_us[found.newest],
        "feedback": feedback,
        "medoid": item[found.medoid],
    }
    return _Block(np.diff(found.offsets), known, per_interest)


def _blocks(sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Cut snapshots into runs of about `EVENTS_A_BLOCK` events; at least one run."""
    number = (np.cumsum(sizes) - sizes) // EVENTS_A_BLOCK
    cuts = np.flatnonzero(number[1:] != number[:-1]) + 1
    for start, stop in pairwise([0, *cuts.tolist(), len(sizes)]):
        yield slice(start, stop)


def _join(parts: list[_Block], wanted: SnapshotSlices) -> MinedInterests:
    counts = np.concatenate([part.count for part in parts])
    known = np.concatenate([part.available_at_us for part in parts])
    columns = {
        name: np.concatenate([part.per_interest[name] for part in parts])
        for name in parts[0].per_interest
    }
    medoid = columns.pop("medoid")
    snapshots = InterestSnapshots(
        user=wanted.user,
        time_us=wanted.time_us,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        available_at_us=np.maximum(wanted.time_us, known),
        **columns,
    )
    return MinedInterests(snapshots, medoid)
