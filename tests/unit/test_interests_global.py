"""Global clusters and histograms over them, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.errors import InputError
from sail_features.history import US_PER_DAY, HistorySlices, sort_events
from sail_features.interests.cluster_histogram import (
    compute_histogram,
    find_long_tail_interests,
    find_tail,
)
from sail_features.interests.global_clusters import GlobalClusters, fit_global_clusters

GROUPS, TOPICS, DIM = 4, 16, 32


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
    clusters = fit_global_clusters(vectors, primary=GROUPS, secondary=TOPICS, trained_until_us=5)
    code = clusters.assign(vectors, block=100)
    assert len(set(zip(code.tolist(), topic.tolist(), strict=True))) == TOPICS
    pairs = set(zip(clusters.parent[code].tolist(), (topic % GROUPS).tolist(), strict=True))
    assert len(pairs) == GROUPS


def test_vectors_of_the_future_shape_no_cluster(planted):
    vectors, _ = planted
    future = vectors.available_at_us >= 5
    changed = vectors.vectors.copy()
    changed[future] = changed[future][::-1]
    poisoned = EmbeddingTable(vectors.ids, changed, "hash", vectors.available_at_us)
    fit = [
        fit_global_clusters(table, primary=2, secondary=8, trained_until_us=5, seed=1)
        for table in (vectors, poisoned, vectors)
    ]
    assert fit[0].version == fit[1].version == fit[2].version
    other = fit_global_clusters(vectors, primary=2, secondary=8, trained_until_us=11, seed=1)
    assert other.version != fit[0].version


def test_clusters_come_back_from_disk_with_their_version(planted, tmp_path):
    clusters = fit_global_clusters(planted[0], primary=2, secondary=4, trained_until_us=5)
    clusters.save(tmp_path / "clusters.npz")
    assert GlobalClusters.load(tmp_path / "clusters.npz").version == clusters.version


def test_too_few_items_and_other_vectors_are_refused(planted):
    vectors, _ = planted
    with pytest.raises(InputError, match="320 known items, 400 secondary"):
        fit_global_clusters(vectors, primary=2, secondary=400, trained_until_us=5)
    clusters = fit_global_clusters(vectors, primary=2, secondary=4, trained_until_us=5)
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
    until = 30 * US_PER_DAY
    tail = find_tail(log, cluster_of, 6, until_us=until, share=0.3)
    niche = find_long_tail_interests(found, tail)
    popular = dict.fromkeys(range(6), 0)
    for item, time in zip(log.item, log.time_us, strict=True):
        popular[int(cluster_of[item])] += int(time < until)
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
