"""DeLong, sandwich, bootstrap and two-way variance against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from ranking_eval.inference import (
    JudgedRows,
    bootstrap_auc,
    compute_auc_influence,
    compute_delong_variance,
    compute_references,
    compute_sandwich_variance,
    compute_two_way_variance,
)
from ranking_eval.metrics import compute_auc
from ranking_eval.metrics.score_order import order_scores


def make_world(seed=0, rows=240, users=30):
    draw = np.random.default_rng(seed)
    user, item = draw.integers(0, users, rows), draw.integers(0, 20, rows)
    user[:users], item[:20] = np.arange(users), np.arange(20)
    positive = draw.random(rows) < 0.4
    scores = np.round(positive + draw.normal(size=(2, rows)) + draw.normal(size=users)[user], 1)
    return positive, scores[0], scores[1], user, item


def compare_pairs(positive, scores):
    """Return 1, one half or 0 for each (positive, negative), as a matrix."""
    return 0.5 * (1 + np.sign(np.subtract.outer(scores[positive], scores[~positive])))


def test_delong_is_the_covariance_of_the_placements():
    positive, ours, theirs, _, _ = make_world()
    difference = compare_pairs(positive, ours) - compare_pairs(positive, theirs)
    of_positives, of_negatives = difference.mean(axis=1), difference.mean(axis=0)
    expected = (
        of_positives.var(ddof=1) / of_positives.size + of_negatives.var(ddof=1) / of_negatives.size
    )
    assert compute_delong_variance(positive, ours[None], theirs[None]) == pytest.approx(
        expected, rel=1e-12
    )


def test_the_influence_function_is_the_sum_of_centred_placements():
    positive, scores, _, user, _ = make_world()
    pairs = compare_pairs(positive, scores)
    centred = np.empty(positive.size)
    centred[positive] = (pairs.mean(axis=1) - pairs.mean()) / positive.sum()
    centred[~positive] = (pairs.mean(axis=0) - pairs.mean()) / (~positive).sum()
    expected = [centred[user == one].sum() for one in range(30)]
    found = compute_auc_influence(order_scores(scores), positive, np.ones(240), user)
    np.testing.assert_allclose(found, expected, atol=1e-14)
    assert found.sum() == pytest.approx(0, abs=1e-14)


def test_the_sandwich_by_row_is_delong_but_for_its_degrees_of_freedom():
    positive, ours, theirs, _, _ = make_world(rows=4000)
    rows, ones = np.arange(4000), np.ones(4000)
    ours_if, theirs_if = (
        compute_auc_influence(order_scores(scores), positive, ones, rows)
        for scores in (ours, theirs)
    )
    delong = compute_delong_variance(positive, ours[None], theirs[None])
    assert compute_sandwich_variance(ours_if - theirs_if) == pytest.approx(delong, rel=2e-3)


def test_two_way_variance_adds_users_and_items_and_takes_off_the_two_together():
    positive, ours, theirs, user, item = make_world()
    ones = np.ones(240)

    def by(clusters):
        codes = np.unique(clusters, return_inverse=True)[1]
        difference = compute_auc_influence(order_scores(ours), positive, ones, codes)
        difference -= compute_auc_influence(order_scores(theirs), positive, ones, codes)
        return compute_sandwich_variance(difference)

    both = by(user) + by(item) - by(user * 100 + item)
    expected = max(both, by(user), by(item))
    rows = JudgedRows.of(positive, users=user)
    found = compute_two_way_variance(rows, ours[None], theirs[None], item)
    assert found == pytest.approx(expected, rel=1e-12)


def test_two_way_variance_of_items_that_are_users_is_that_of_users():
    positive, ours, theirs, user, _ = make_world()
    ones = np.ones(240)
    difference = compute_auc_influence(order_scores(ours), positive, ones, user)
    difference -= compute_auc_influence(order_scores(theirs), positive, ones, user)
    found = compute_two_way_variance(
        JudgedRows.of(positive, users=user), ours[None], theirs[None], user
    )
    assert found == pytest.approx(compute_sandwich_variance(difference), rel=1e-12)


def test_a_draw_is_the_auc_with_every_cluster_as_often_as_it_was_drawn():
    positive, ours, theirs, user, _ = make_world()
    weights = np.random.default_rng(5).integers(0, 3, 240) / 2
    rows = JudgedRows.of(positive, users=user, weights=weights)
    found = bootstrap_auc(rows, [ours, theirs], draws=100, seed=7)
    assert found.shape == (2, 100)
    children = np.random.SeedSequence(7).spawn(2)
    times = np.concatenate(
        [np.random.default_rng(child).poisson(1.0, (30, 64)) for child in children], axis=1
    )
    for draw in (0, 63, 64, 99):
        for arm, scores in enumerate((ours, theirs)):
            expected = compute_auc(positive, scores, weights * times[user, draw])
            assert found[arm, draw] == pytest.approx(expected, abs=1e-12)


def test_the_bootstrap_agrees_with_the_sandwich():
    positive, ours, theirs, user, _ = make_world(rows=6000, users=400)
    drawn = bootstrap_auc(JudgedRows.of(positive, users=user), [ours, theirs], draws=600)
    difference = compute_auc_influence(order_scores(ours), positive, np.ones(6000), user)
    difference -= compute_auc_influence(order_scores(theirs), positive, np.ones(6000), user)
    expected = np.sqrt(compute_sandwich_variance(difference))
    assert (drawn[0] - drawn[1]).std(ddof=1) == pytest.approx(expected, rel=0.12)


def test_references_average_over_seeds_and_delong_is_too_small_where_users_cluster():
    draw = np.random.default_rng(3)
    user, item = np.arange(4000) % 100, draw.integers(0, 30, 4000)
    positive = draw.random(4000) < (1 / (1 + np.exp(-2 * draw.normal(size=100))))[user]
    arms = draw.normal(size=(2, 100))[:, user] + draw.normal(size=(2, 4000))
    rows = JudgedRows.of(positive, users=user)
    once = compute_references(rows, arms[:1], arms[1:], item, draws=300)
    twice = compute_references(rows, arms[[0, 0]], arms[[1, 1]], item, draws=300)
    assert once == pytest.approx(twice)
    assert once["delong"] < 0.7 * once["sandwich"]
    assert once["two_way"] >= once["sandwich"] == pytest.approx(once["bootstrap"], rel=0.15)


def test_a_draw_of_one_label_only_is_nan():
    positive, users = np.array([True, False]), np.array([0, 1])
    drawn = bootstrap_auc(JudgedRows.of(positive, users=users), [np.array([1.0, 0.0])], draws=200)
    assert np.isnan(drawn).any()
    assert set(drawn[~np.isnan(drawn)]) == {1.0}
