"""The clustering algorithms against scipy and against plain loops."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from sail_features.embeddings import normalise
from sail_features.history import US_PER_DAY
from sail_features.interests.gather import gather_vectors
from sail_features.interests.importance import compute_recency
from sail_features.interests.online_leader import LeaderState, follow_events, leader_labels
from sail_features.interests.spherical_kmeans import kmeans_labels
from sail_features.interests.summary import summarise_clusters
from sail_features.interests.ward import ward_labels


def unit_vectors(seed, count, dim, *, topics=4, repeats=0):
    """Return vectors around some topics, the last ``repeats`` of them copies of others."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((topics, dim))
    made = centre[rng.integers(topics, size=count)] + 0.7 * rng.standard_normal((count, dim))
    if repeats:
        made[count - repeats :] = made[rng.integers(0, count - repeats, repeats)]
    return normalise(made[rng.permutation(count)])


def parts(labels):
    """Return the clusters as sets of places, whatever their numbers."""
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


def one(count):
    return np.array([0, count])


def scipy_parts(vectors, max_interests, cut):
    """Return scipy's clusters: at most so many, and all merges up to ``cut`` made."""
    tree = linkage(vectors.astype(np.float64), method="ward")
    few = fcluster(tree, max_interests, criterion="maxclust")
    near = fcluster(tree, cut, criterion="distance")
    return parts(few if few.max() <= near.max() else near)


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(2, 90),
    dim=st.sampled_from([2, 3, 16, 65]),
    max_interests=st.integers(1, 9),
    cut=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    repeats=st.integers(0, 20),
)
def test_ward_is_scipys(seed, count, dim, max_interests, cut, repeats):
    vectors = unit_vectors(seed, count, dim, repeats=min(repeats, count // 2))
    labels = ward_labels(vectors, one(count), max_interests, cut)
    assert parts(labels) == scipy_parts(vectors, max_interests, cut)
    first = [labels.tolist().index(label) for label in range(labels.max() + 1)]
    assert first == sorted(first)


def test_ward_of_equal_vectors_is_one_cluster_and_of_one_event_itself():
    same = np.repeat(unit_vectors(0, 1, 5), 30, axis=0)
    assert set(ward_labels(same, one(30), 8, 0.0).tolist()) == {0}
    assert ward_labels(same[:1], one(1), 8, 0.0).tolist() == [0]
    assert ward_labels(same[:0], np.array([0, 0, 0]), 8, 0.0).tolist() == []
    zeros = np.zeros((4, 5), np.float32)
    assert ward_labels(zeros, one(4), 2, 0.0).tolist() == [0] * 4


def test_ward_does_not_depend_on_the_order_of_events():
    vectors = unit_vectors(1, 60, 24)
    order = np.random.default_rng(2).permutation(60)
    labels = np.empty(60, np.int32)
    labels[order] = ward_labels(vectors[order], one(60), 6, 0.0)
    assert parts(labels) == parts(ward_labels(vectors, one(60), 6, 0.0))


def naive_kmeans(vectors, recency, count, rounds=10):
    """Return the labels that loops in double precision give, numbered by first events."""
    points = vectors.astype(np.float64)
    centres = [points[-1]]
    while len(centres) < min(count, len(points)):
        nearest = [max(float(point @ centre) for centre in centres) for point in points]
        if min(nearest) > 1 - 1e-6:
            break
        centres.append(points[int(np.argmin(nearest))])
    labels = []
    for _ in range(rounds):
        found = [int(np.argmax([point @ centre for centre in centres])) for point in points]
        if found == labels:
            break
        labels = found
        for place in range(len(centres)):
            total = sum(
                r * p for r, p, at in zip(recency, points, labels, strict=True) if at == place
            )
            if np.linalg.norm(total) > 1e-6:
                centres[place] = total / np.linalg.norm(total)
    return np.array(labels)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), clusters=st.integers(1, 6))
def test_kmeans_is_that_of_plain_loops(seed, count, clusters):
    vectors = unit_vectors(seed, count, 12, repeats=count // 4)
    recency = np.random.default_rng(seed).uniform(0.01, 1, count).astype(np.float32)
    found = kmeans_labels(vectors, recency, one(count), clusters)
    assert parts(found) == parts(naive_kmeans(vectors, recency, clusters))


def naive_leader(vectors, time_us, slots, similarity, half_life_days):
    """Return labels and the slots' (sum, weight, last time), decaying all at every event."""
    sums, weights, labels = [], [], []
    previous = None
    for vector, now in zip(vectors.astype(np.float64), time_us, strict=True):
        if previous is not None:
            kept = 0.5 ** ((now - previous) / US_PER_DAY / half_life_days)
            sums, weights = [s * kept for s in sums], [w * kept for w in weights]
        previous = now
        cosines = [float(s @ vector) / np.linalg.norm(s) for s in sums]
        if cosines and max(cosines) >= similarity:
            slot = int(np.argmax(cosines))
        elif len(sums) < slots:
            slot = len(sums)
            sums.append(np.zeros(len(vector)))
            weights.append(0.0)
        else:
            slot = int(np.argmin(weights))
            sums[slot], weights[slot] = np.zeros(len(vector)), 0.0
            labels = [-1 if label == slot else label for label in labels]
        sums[slot] = sums[slot] + vector
        weights[slot] += 1
        labels.append(slot)
    return np.array(labels), sums, weights


@given(seed=st.integers(0, 10_000), count=st.integers(1, 60), slots=st.integers(1, 5))
def test_leader_is_that_of_plain_loops(seed, count, slots):
    vectors = unit_vectors(seed, count, 10, topics=6)
    times = np.sort(np.random.default_rng(seed).integers(0, 60 * US_PER_DAY, count))
    state = LeaderState.empty(1, slots, 10)
    settings = {"similarity": 0.6, "half_life_days": 20.0}
    labels = follow_events(state, vectors, times, one(count), **settings)
    expected, sums, weights = naive_leader(vectors, times, slots, 0.6, 20.0)
    assert labels.tolist() == expected.tolist()
    for slot, (total, weight) in enumerate(zip(sums, weights, strict=True)):
        kept = 0.5 ** ((times[-1] - state.last_us[0, slot]) / US_PER_DAY / 20)
        np.testing.assert_allclose(state.sums[0, slot] * kept, total, atol=1e-4)
        assert state.weight[0, slot] * kept == pytest.approx(weight, rel=1e-4, abs=1e-9)
    shares = state.importance(20.0)[0, : len(weights)]
    np.testing.assert_allclose(shares, np.array(weights) / sum(weights), rtol=1e-4, atol=1e-7)
    renumbered = leader_labels(vectors, times, one(count), slots, **settings)
    assert parts(renumbered) == parts(labels)


@given(seed=st.integers(0, 10_000), cut=st.integers(0, 50), other=st.integers(0, 50))
def test_leader_day_by_day_is_the_leader_at_once_to_the_bit(seed, cut, other):
    vectors = unit_vectors(seed, 50, 10, topics=6)
    times = np.sort(np.random.default_rng(seed).integers(0, 60 * US_PER_DAY, 50))
    settings = {"similarity": 0.6, "half_life_days": 20.0}
    once, daily = LeaderState.empty(1, 3, 10), LeaderState.empty(1, 3, 10)
    follow_events(once, vectors, times, one(50), **settings)
    for start, stop in zip([0, *sorted([cut, other])], [*sorted([cut, other]), 50], strict=True):
        follow_events(daily, vectors[start:stop], times[start:stop], one(stop - start), **settings)
    for name in ("sums", "weight", "squared", "last_us"):
        assert getattr(daily, name).tobytes() == getattr(once, name).tobytes()


@given(seed=st.integers(0, 10_000), count=st.integers(1, 30), clusters=st.integers(1, 5))
def test_summary_is_that_of_plain_loops(seed, count, clusters):
    rng = np.random.default_rng(seed)
    vectors = unit_vectors(seed, count, 8)
    times = np.sort(rng.integers(0, 90 * US_PER_DAY, count))
    recency = compute_recency(times, one(count), 30.0)
    labels = rng.integers(-1, clusters, count)
    labels = np.unique(labels, return_inverse=True)[1] - int(-1 in labels)
    found = summarise_clusters(vectors, recency, labels.astype(np.int32), one(count))
    kept = labels[labels >= 0]
    assert len(found.weight) == (kept.max() + 1 if len(kept) else 0)
    assert (np.diff(found.weight) <= 0).all()
    total = sum(
        0.5 ** ((times[-1] - times[at]) / US_PER_DAY / 30) for at in np.flatnonzero(labels >= 0)
    )
    for place, medoid in enumerate(found.medoid):
        mine = np.flatnonzero(labels == labels[medoid])
        decay = [0.5 ** ((times[-1] - times[at]) / US_PER_DAY / 30) for at in mine]
        centre = sum(d * vectors[at].astype(np.float64) for d, at in zip(decay, mine, strict=True))
        np.testing.assert_allclose(found.vectors[place], centre / np.linalg.norm(centre), atol=1e-5)
        assert found.weight[place] == pytest.approx(sum(decay) / total, rel=1e-5)
        assert found.size[place] == len(mine)
        assert found.newest[place] == mine[-1]
        spread = [float(((vectors[mine] - vectors[at]) ** 2).sum()) for at in mine]
        assert spread[mine.tolist().index(medoid)] == pytest.approx(min(spread), abs=1e-4)


def test_mean_without_a_direction_is_replaced_by_the_medoid():
    opposite = np.float32([[1, 0], [-1, 0]])
    found = summarise_clusters(
        opposite, np.ones(2, np.float32), np.zeros(2, np.int32), np.array([0, 2])
    )
    assert found.vectors.tolist() == [[-1.0, 0.0]]


def test_event_of_long_ago_still_has_a_weight():
    ages = compute_recency(np.array([0, 10_000]) * US_PER_DAY, one(2), 1.0)
    assert 0 < ages[0] < 1e-37
    assert ages[1] == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_gathered_vectors_are_those_of_numpy(dtype):
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    table = every[np.isfinite(every)].reshape(-1, 8).astype(dtype)
    rows = np.random.default_rng(0).integers(0, len(table), 9_000)
    found = gather_vectors(table, rows)
    assert found.tobytes() == table[rows].astype(np.float32).tobytes()


@pytest.mark.parametrize("algorithm", ["ward", "kmeans", "leader"])
def test_threads_and_neighbours_change_nothing(algorithm):
    lengths = [0, 1, 40, 7, 0, 90, 33]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    vectors = unit_vectors(5, offsets[-1], 24)
    times = np.concatenate([np.sort(np.arange(n) * US_PER_DAY) for n in lengths])
    recency = compute_recency(times, offsets, 30.0)

    def label(start, stop):
        some = offsets[start : stop + 1] - offsets[start]
        events = slice(offsets[start], offsets[stop])
        if algorithm == "ward":
            return ward_labels(vectors[events], some, 5, 0.0)
        if algorithm == "kmeans":
            return kmeans_labels(vectors[events], recency[events], some, 5)
        return leader_labels(
            vectors[events], times[events], some, 5, similarity=0.5, half_life_days=30.0
        )

    together = label(0, len(lengths))
    alone = np.concatenate([label(user, user + 1) for user in range(len(lengths))])
    assert together.tolist() == alone.tolist()
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert label(0, len(lengths)).tolist() == together.tolist()
    finally:
        numba.set_num_threads(threads)
