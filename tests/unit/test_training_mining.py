"""Thresholds, hard negatives and balancing against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import training_world
from hypothesis import given
from hypothesis import strategies as st

from sail_features.errors import InputError
from sail_features.training.balancing import (
    BalancingSettings,
    balance,
    collect_views,
    likeness_of,
    sinkhorn,
    summarise,
)
from sail_features.training.hard_negatives import (
    HardNegativeSettings,
    best_threshold,
    mine_hard_negatives,
)
from sail_features.training.vectors import embed_rows

SCORES = st.lists(st.integers(-10, 10).map(lambda n: n / 10), min_size=1, max_size=30)


def f1_at(threshold, positives, negatives):
    hits, false = sum(s >= threshold for s in positives), sum(s >= threshold for s in negatives)
    return 2 * hits / (hits + false + len(positives))


@given(SCORES, SCORES)
def test_the_threshold_has_the_best_f1(positives, negatives):
    positives, negatives = np.float32(positives), np.float32(negatives)
    scores = sorted({*positives.tolist(), *negatives.tolist()}, reverse=True)
    expected = max(scores, key=lambda score: f1_at(score, positives, negatives))
    assert best_threshold(positives, negatives) == expected


def test_hard_negatives_are_the_nearest_unknown_targets_below_the_threshold():
    data = training_world.make_pairs(60)
    model = training_world.make_model(data.query.inputs)
    settings = HardNegativeSettings(per_query=4, sample=60)
    mined = mine_hard_negatives(model, data, settings, np.random.default_rng(0))
    every = np.arange(training_world.ITEMS)
    vectors = embed_rows(model, data.query.inputs, every)
    known = {*zip(data.query.rows.tolist(), data.target.rows.tolist(), strict=True)}
    for place, query in enumerate(np.unique(data.query.rows)):
        allowed = [
            (float(vectors[query] @ vectors[target]), target)
            for target in np.unique(data.target.rows)
            if target != query and (query, target) not in known
        ]
        below = sorted((c for c in allowed if c[0] < mined.threshold), reverse=True)[:4]
        found = [target for target in mined.targets[place] if target >= 0]
        cosines = vectors[found] @ vectors[query]
        np.testing.assert_allclose(cosines, [cosine for cosine, _ in below], atol=1e-5)
        assert not {(query, target) for target in found} & known


def test_a_small_pool_bounds_what_is_compared():
    data = training_world.make_pairs(200)
    model = training_world.make_model(data.query.inputs)
    settings = HardNegativeSettings(per_query=3, pool=10)
    mined = mine_hard_negatives(model, data, settings, np.random.default_rng(0))
    assert len(np.setdiff1d(mined.targets, -1)) <= 10


def test_sinkhorn_moves_uniform_masses():
    plan = sinkhorn(np.random.default_rng(0).random((5, 8)), 0.05)
    np.testing.assert_allclose(plan.sum(axis=1), np.full(5, 1 / 5), atol=1e-6)
    np.testing.assert_allclose(plan.sum(axis=0), np.full(8, 1 / 8), atol=1e-6)


def test_sinkhorn_finds_the_cheapest_matching():
    cost = 1 - np.eye(6)[[2, 0, 1, 5, 3, 4]]
    assert sinkhorn(cost, 0.02).argmax(axis=1).tolist() == [2, 0, 1, 5, 3, 4]


def planted(rng, centre, count=60, dim=8):
    rows = centre + 0.2 * rng.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_set_that_looks_like_validation_is_drawn_most():
    rng = np.random.default_rng(0)
    centres = np.eye(8)[:3]
    training = {f"of {n}": {"fused": planted(rng, centre)} for n, centre in enumerate(centres)}
    validation = {"validation": {"fused": planted(rng, centres[1])}}
    shares = balance(training, validation, BalancingSettings(centroids=4))
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == "of 1"


def test_fused_vectors_come_first_and_shared_modalities_else():
    rng = np.random.default_rng(0)
    near, far = planted(rng, np.eye(8)[0], 4), planted(rng, np.eye(8)[1], 4)
    ours = {"fused": near, "text": near, "audio": near}
    assert likeness_of(ours, {"fused": near, "text": far}, 0.05) > 0.8
    assert likeness_of(ours, {"text": far}, 0.05) < 0.3
    with pytest.raises(InputError, match="share a modality"):
        likeness_of({"audio": near}, {"text": far}, 0.05)


def test_centroids_are_unit_vectors_and_no_more_than_there_are_rows():
    found = summarise(planted(np.random.default_rng(0), np.eye(8)[0], 5), 32)
    assert found.shape == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_views_of_a_data_set_leave_out_items_without_the_modality():
    data = training_world.make_pairs(300)
    model = training_world.make_model(data.query.inputs)
    views = collect_views(model, data, BalancingSettings(), np.random.default_rng(0))
    queries, targets = np.unique(data.query.rows), np.unique(data.target.rows)
    has_audio = data.query.inputs.has["audio"]
    assert len(views["fused"]) == len(queries) + len(targets)
    assert len(views["audio"]) == has_audio[queries].sum() + has_audio[targets].sum()
