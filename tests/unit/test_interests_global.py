"""Global clusters and histograms over them, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.config import ClusterConfig
from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.errors import InputError
from sail_features.history import US_PER_DAY, HistorySlices, sort_events
from sail_features.interests.cluster_histogram import compute_histogram, find_long_tail_interests
from sail_features.interests.global_clusters import (
    GlobalClusters,
    find_tail,
    fit_global_clusters,
)

GROUPS, TOPICS, DIM = 4, 16, 32


def fit(vectors, primary, secondary, until=5, likes=None, **settings):
    """Fit clusters on the items known before ``until``; every item is liked once."""
    likes = np.ones(len(vectors), np.int64) if likes is None else likes
    config = ClusterConfig(primary=primary, secondary=secondary, **settings)
    return fit_global_clusters(vectors, likes, config, trained_until_us=until)


@pytest.fixture(scope="module")
def planted():
    """Return items of 16 topics in 4 groups, and each item's topic; half are known late."""
    rng = np.random.default_rng(0)
    group, own = (normalise(rng.standard_normal((count, DIM))) for count in (GROUPS, TOPICS))
    topic = np.repeat(np.arange(TOPICS), 40)
    centre = 1.5 * group[topic % GROUPS] + own[topic]
    vectors = normalise(centre + 0.05 * rng.standard_normal((len(topic), DIM)))
    known = np.arange(len(topic)) % 2 * 10
    return EmbeddingTable(np.arange(len(topic)), vectors, "hash", known), topic


def test_planted_topics_and_groups_are_found_by_every_item(planted):
    vectors, topic = planted
    clusters = fit(vectors, GROUPS, TOPICS)
    code = clusters.assign(vectors, block=100)
    assert len(set(zip(code.tolist(), topic.tolist(), strict=True))) == TOPICS
    pairs = set(zip(clusters.parent[code].tolist(), (topic % GROUPS).tolist(), strict=True))
    assert len(pairs) == GROUPS


def test_the_least_liked_topics_are_the_tail(planted):
    vectors, topic = planted
    clusters = fit(vectors, GROUPS, TOPICS, likes=1 + topic * 10, tail_share=0.05)
    code = clusters.assign(vectors)
    rare = {int(topic[code == cluster][0]) for cluster in np.flatnonzero(clusters.tail)}
    # Topics 0, 1 and 2 hold 1, 11 and 21 of the 1,216 likes, topic 3 another 31: 64 are too many.
    assert rare == {0, 1, 2}


def test_vectors_and_likes_of_the_future_shape_no_cluster(planted):
    vectors, topic = planted
    future = vectors.available_at_us >= 5
    changed = vectors.vectors.copy()
    changed[future] = changed[future][::-1]
    poisoned = EmbeddingTable(vectors.ids, changed, "hash", vectors.available_at_us)
    likes = 1 + topic
    flipped = np.where(future, 1_000, likes)
    found = [
        fit(table, 2, 8, likes=counts, seed=1).version
        for table, counts in ((vectors, likes), (poisoned, flipped), (vectors, likes))
    ]
    assert len(set(found)) == 1
    assert fit(vectors, 2, 8, until=11, likes=likes, seed=1).version != found[0]
    assert fit(vectors, 2, 8, likes=likes[::-1], seed=1).version != found[0]


def test_clusters_come_back_from_disk_with_their_version(planted, tmp_path):
    clusters = fit(planted[0], 2, 4)
    clusters.save(tmp_path / "clusters.npz")
    assert GlobalClusters.load(tmp_path / "clusters.npz").version == clusters.version


def test_opposite_vectors_make_a_cluster_without_direction_and_no_nan():
    vectors = np.float32([[1, 0], [-1, 0]])
    table = EmbeddingTable(np.arange(2), vectors, "hash", np.zeros(2, np.int64))
    clusters = fit(table, 1, 1)
    assert np.isfinite(clusters.centroids).all()
    assert clusters.assign(table).tolist() == [0, 0]


def test_too_few_items_no_likes_and_other_vectors_are_refused(planted):
    vectors, _ = planted
    with pytest.raises(InputError, match="400 secondary clusters of 320 items"):
        fit(vectors, 2, 400)
    with pytest.raises(InputError, match="nobody liked an item"):
        fit(vectors, 2, 4, likes=np.where(vectors.available_at_us >= 5, 1, 0))
    clusters = fit(vectors, 2, 4)
    other = EmbeddingTable(vectors.ids, vectors.vectors, "other", vectors.available_at_us)
    with pytest.raises(InputError, match="fitted on vectors of 'hash', got those of 'other'"):
        clusters.assign(other)


@given(seed=st.integers(0, 10_000))
def test_histogram_and_tail_are_those_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    cluster_of = rng.integers(0, 6, 15).astype(np.int32)
    log = sort_events(
        rng.integers(0, 5, 80), rng.integers(0, 40, 80) * US_PER_DAY, rng.integers(0, 15, 80),
        np.ones(80, np.float32),
    )  # fmt: skip
    start = np.searchsorted(log.owner, np.arange(6))
    stop = np.searchsorted(log.owner, np.arange(6), side="right")
    found = compute_histogram(
        log, HistorySlices(start, stop), cluster_of, version="v1", half_life_days=10
    )
    tail = find_tail(np.bincount(cluster_of[log.item], minlength=6), share=0.3)
    niche = find_long_tail_interests(found, tail)
    popular = dict.fromkeys(range(6), 0)
    for item in log.item:
        popular[int(cluster_of[item])] += 1
    held, rare = 0, set()
    for cluster in sorted(popular, key=lambda n: (popular[n], n)):
        held += popular[cluster]
        if held <= 0.3 * sum(popular.values()):
            rare.add(cluster)
    entries = {}
    for user in range(6):
        mine = range(start[user], stop[user])
        for place in mine:
            recency = 0.5 ** ((log.time_us[mine[-1]] - log.time_us[place]) / US_PER_DAY / 10)
            entry = entries.setdefault((user, int(cluster_of[log.item[place]])), [0, 0.0, 0])
            entry[:] = [entry[0] + 1, entry[1] + recency, max(entry[2], int(log.time_us[place]))]
    assert found.offsets[-1] == len(entries)
    for user in range(6):
        total = sum(entry[1] for (owner, _), entry in entries.items() if owner == user)
        for place in range(found.offsets[user], found.offsets[user + 1]):
            count, weight, newest = entries[user, int(found.cluster[place])]
            assert (found.count[place], found.newest_us[place]) == (count, newest)
            assert found.weight[place] == pytest.approx(weight / total, rel=1e-5)
            assert niche[place] == (int(found.cluster[place]) in rare and count >= 3)
