"""Measures of an embedding, each against a loop or a case with an obvious answer."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
import worlds
from scipy.sparse import csr_array
from worlds import at

from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.errors import InputError
from sail_features.training.engagements import select_engagements
from sail_features.training.evaluation import (
    EvaluationTasks,
    ItemPairs,
    SearchPairs,
    evaluate_embedding,
    show_change,
)
from sail_features.training.evaluation.bijection import compute_bijection
from sail_features.training.evaluation.cluster_agreement import compute_cluster_agreement
from sail_features.training.evaluation.kendall import compute_kendall
from sail_features.training.evaluation.neighbour_overlap import compute_neighbour_overlap
from sail_features.training.evaluation.pair_recall import (
    chance,
    compute_item_recall,
    compute_search_recall,
)
from sail_features.training.evaluation.ranks import BLOCK, nearest, rank_targets
from sail_features.training.evaluation.separability import compute_separability
from sail_features.training.evaluation.sequence_recall import (
    compute_sequence_recall,
    filtered_sequences,
    vanilla_sequences,
)
from sail_features.training.sequences import ABSENT

RNG = np.random.default_rng(0)
SOME = normalise(RNG.normal(size=(200, 6)))
PAIRS = ItemPairs(np.arange(0, 200, 2), np.arange(1, 200, 2))
TWINS = normalise(
    np.repeat(RNG.normal(size=(100, 6)), 2, axis=0) + 0.01 * RNG.normal(size=(200, 6))
)


def test_ranks_are_those_of_a_loop():
    queries, pool = RNG.normal(size=(40, 5)), RNG.normal(size=(60, 5))
    targets = RNG.integers(60, size=40)
    excluded = RNG.integers(-1, 60, size=(40, 3))
    found = rank_targets(queries.astype(np.float32), targets, pool.astype(np.float32), excluded)
    for row, query in enumerate(queries):
        cosine = pool @ query / np.linalg.norm(pool, axis=1)
        others = set(range(60)) - {targets[row]} - set(excluded[row])
        assert found[row] == sum(cosine[item] >= cosine[targets[row]] for item in others)


def test_ranks_don_t_depend_on_blocks():
    many = np.tile(SOME, (BLOCK // 150, 1))
    targets = RNG.integers(200, size=len(many))
    assert len(many) > BLOCK
    assert np.array_equal(
        rank_targets(many, targets, SOME),
        np.concatenate(
            [rank_targets(many[s : s + 1], targets[s : s + 1], SOME) for s in range(len(many))]
        ),
    )


def test_vectors_that_are_all_alike_find_nothing():
    alike = np.ones((50, 3), np.float32)
    assert compute_item_recall(alike, ItemPairs(np.arange(49), np.arange(1, 50)), (10,)) == {
        10: 0.0
    }


def test_recall_of_twins_is_whole_and_of_strangers_is_chance():
    assert compute_item_recall(TWINS, PAIRS, (1,))[1] > 0.98
    wide = normalise(RNG.normal(size=(1_000, 32)))
    pairs = ItemPairs(np.arange(1_000), RNG.permutation(1_000))
    kept = pairs.query != pairs.target
    found = compute_item_recall(wide, ItemPairs(pairs.query[kept], pairs.target[kept]), (100,))[100]
    assert found == pytest.approx(chance(1_000, 100), abs=0.03)


def test_searches_may_find_any_item():
    searches = SearchPairs(SOME[:20], np.arange(20))
    assert compute_search_recall(SOME, searches, (1,)) == {1: 1.0}


def test_nearest_is_a_sort_by_cosine_without_the_item_itself():
    found = nearest(SOME, SOME, 4, skip_own=True)
    cosine = SOME @ SOME.T
    np.fill_diagonal(cosine, -2)
    assert np.array_equal(found, np.argsort(-cosine, axis=1)[:, :4])


def test_clusters_agree_on_twins_and_not_on_strangers():
    dealt = ItemPairs(PAIRS.query, RNG.permutation(PAIRS.target))
    assert compute_cluster_agreement(TWINS, PAIRS) > 0.9
    assert compute_cluster_agreement(TWINS, dealt) < 0.6


def test_kendall_and_overlap_tell_the_same_ranking_from_chance():
    other = normalise(RNG.normal(size=SOME.shape))
    assert compute_kendall(SOME, SOME) == pytest.approx(1)
    assert compute_kendall(SOME, -SOME @ np.eye(6)) == pytest.approx(1)
    assert abs(compute_kendall(SOME, other)) < 0.05
    assert compute_neighbour_overlap(SOME, SOME, k=5) == 1
    assert compute_neighbour_overlap(SOME, other, k=20) == pytest.approx(20 / 199, abs=0.05)


def test_bijection_is_that_of_a_loop():
    cosine = SOME[PAIRS.query] @ SOME[PAIRS.target].T
    back = [int(cosine[:, int(cosine[row].argmax())].argmax()) == row for row in range(100)]
    assert compute_bijection(SOME, PAIRS) == pytest.approx(np.mean(back))
    assert compute_bijection(TWINS, PAIRS) > 0.98


def test_twins_are_separable_and_strangers_are_not():
    assert compute_separability(TWINS, PAIRS) > 0.9
    assert compute_separability(SOME, PAIRS) < 0.4


ITEMS = np.array([f"i{number}" for number in range(10)])


def log_of(rows):
    log = worlds.events([(user, f"i{item}", time, 1.0) for user, item, time in rows])
    return select_engagements(log, ITEMS, trained_until=at(30))


def test_vanilla_takes_the_newest_new_item_of_the_test_and_what_lies_before_it():
    rows = [("u", item, at(item)) for item in range(5)]
    rows += [
        ("u", 6, at(12)),
        ("u", 7, at(12)),
        ("u", 0, at(13)),
        ("v", 1, at(1)),
        ("v", 8, at(12)),
    ]
    found = vanilla_sequences(log_of(rows), at(10))
    assert found.target.tolist() == [7]
    assert sorted(found.query[0]) == [ABSENT] * 5 + [0, 1, 2, 3, 4]
    assert not len(vanilla_sequences(log_of(rows), at(12) + timedelta(microseconds=1)))


def test_filtered_keeps_what_shares_a_group_with_the_target():
    rows = [("u", item, at(item)) for item in range(7)] + [("u", 9, at(12))]
    labels = csr_array(np.array([[0, 1, 0, 1, 0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]]).T)
    cluster = np.array([5, -1, -1, -1, -1, -1, -1, -1, -1, 5])
    found = filtered_sequences(log_of(rows), at(10), cluster, labels)
    assert found.query[0][:5].tolist() == [0, 1, 3, 5, ABSENT]
    assert not len(filtered_sequences(log_of(rows), at(10), cluster))


def test_sequence_recall_is_that_of_the_mean_and_leaves_the_query_out():
    rows = [("u", item, at(item)) for item in range(4)] + [("u", 9, at(12))]
    found = vanilla_sequences(log_of(rows), at(10))
    vectors = np.eye(10, dtype=np.float32)
    vectors[9] = [0.5] * 4 + [0] * 6
    assert compute_sequence_recall(vectors, found, (1,)) == {1: 1.0}
    vectors[8] = vectors[9]
    assert compute_sequence_recall(vectors, found, (1, 2)) == {1: 0.0, 2: 1.0}


def test_every_measure_is_reported_by_name_and_side_by_side():
    rows = [("u", item, at(item)) for item in range(4)] + [("u", 9, at(12))]
    ids = np.array([f"i{number:03d}" for number in range(200)])
    collaborative = EmbeddingTable(ids[50:], TWINS[50:], "als-x", np.zeros(150, np.int64))
    tasks = EvaluationTasks(
        pairs={"co": PAIRS},
        searches={"titles": SearchPairs(TWINS[:5], np.arange(5))},
        sequences={"vanilla": vanilla_sequences(log_of(rows), at(10))},
        collaborative=collaborative,
        item_ids=ids,
    )
    found = evaluate_embedding(TWINS, tasks)
    assert found["i2i co: recall@10"] > 0.9
    assert found["q2i titles: recall@10"] == 1
    assert found["collaborative: overlap@20"] == 1
    assert {"sequence vanilla: recall@25", "i2i co: NMI", "i2i co: separability"} <= set(found)
    assert show_change(
        {"before": found, "after": evaluate_embedding(SOME, tasks)}
    ).row_count == len(found)


def test_collaborative_items_that_nobody_knows_are_refused():
    table = EmbeddingTable(np.array(["x"]), SOME[:1], "als-x", np.zeros(1, np.int64))
    tasks = EvaluationTasks(collaborative=table, item_ids=np.array(["a", "b"]))
    with pytest.raises(InputError, match=r"als-x.*1 items .*x"):
        evaluate_embedding(SOME[:2], tasks)
