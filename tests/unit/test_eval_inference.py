"""The jackknife against real recomputation, and the interval against known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from ranking_eval.inference import compute_effective_users, compute_lift
from ranking_eval.jackknife import METRICS, WithoutUsers
from ranking_eval.metrics import compute_auc, compute_grouped_auc, compute_log_loss
from sail_features.errors import EvaluationError

RECOMPUTE = {
    "auc": lambda labels, scores, users: compute_auc(labels, scores),
    "grouped_auc": lambda labels, scores, users: compute_grouped_auc(labels, scores, users).value,
    "log_loss": lambda labels, scores, users: compute_log_loss(labels, scores),
}


def make_world(seed, users=40, rows=600, slope=1.0):
    """Users of unequal weight and different base rates; scores in [0, 1] with ties."""
    draw = np.random.default_rng(seed)
    weights = draw.pareto(2.0, users) + 0.2
    user = np.r_[np.arange(users), draw.choice(users, rows - users, p=weights / weights.sum())]
    taste = draw.normal(size=rows)
    chance = 1 / (1 + np.exp(-(slope * taste + draw.normal(size=users)[user])))
    labels = (draw.random(rows) < chance).astype(int)
    noisy = taste + draw.normal(size=rows) + draw.normal(size=users)[user]
    scores = np.round(1 / (1 + np.exp(-noisy)), 2)
    return labels, scores, user


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", [0, 1])
def test_values_without_a_user_equal_recomputation_on_the_other_rows(metric, seed):
    labels, scores, users = make_world(seed)
    found = METRICS[metric](labels, scores, users)
    expected = [
        RECOMPUTE[metric](labels[users != user], scores[users != user], users[users != user])
        for user in range(users.max() + 1)
    ]
    np.testing.assert_allclose(found.without_user, expected, rtol=0, atol=1e-12)
    assert found.value == pytest.approx(RECOMPUTE[metric](labels, scores, users), abs=1e-12)


def test_grouped_auc_counts_only_users_with_both_labels():
    found = METRICS["grouped_auc"]([0, 1, 0, 1, 1], [1, 2, 3, 4, 5], np.array([0, 0, 1, 1, 2]))
    assert found.user_rows.tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("metric", "labels", "users"),
    [
        ("auc", [0, 1, 0, 0], [0, 0, 1, 1]),  # only user 0 has a positive
        ("grouped_auc", [0, 1, 0, 0], [0, 0, 1, 1]),
        ("log_loss", [0, 1, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_an_interval_that_hangs_on_one_user_is_an_error(metric, labels, users):
    with pytest.raises(EvaluationError, match="one user holds every row"):
        METRICS[metric](labels, [0.1, 0.2, 0.3, 0.4], np.array(users))


def test_interval_is_the_textbook_jackknife_with_students_t():
    labels, scores, users = make_world(2)
    worse = np.round(scores, 1)
    ours, theirs = (METRICS["auc"](labels, score, users) for score in (scores, worse))
    lift = compute_lift("auc", [ours], [theirs])
    differences = ours.without_user - theirs.without_user
    count = differences.size
    error = np.sqrt((count - 1) / count * np.sum((differences - differences.mean()) ** 2))
    rows = np.bincount(users)
    effective = rows.sum() ** 2 / (rows**2).sum()
    half = student.ppf(0.975, effective - 1) * error
    assert lift.delta == compute_auc(labels, scores) - compute_auc(labels, worse)
    assert lift.standard_error == pytest.approx(error, rel=1e-12)
    assert lift.effective_users == pytest.approx(effective)
    assert (lift.high - lift.low) / 2 == pytest.approx(half, rel=1e-9)
    assert lift.seed_spread == 0


def test_identical_arms_differ_by_exactly_nothing():
    labels, scores, users = make_world(3)
    same = METRICS["auc"](labels, scores, users)
    lift = compute_lift("auc", [same, same], [same, same])
    assert (lift.delta, lift.low, lift.high, lift.seed_spread) == (0, 0, 0, 0)


def test_seeds_average_the_difference_and_add_the_training_variance():
    rows = np.full(50, 10)

    def fit(value):
        return WithoutUsers(value, np.full(50, value), rows)

    lift = compute_lift("auc", [fit(0.71), fit(0.73)], [fit(0.60), fit(0.60)])
    assert lift.delta == pytest.approx(0.12)
    assert lift.seed_spread == pytest.approx(np.std([0.11, 0.13], ddof=1))
    # users agree in everything, so all variance is training's: var / seeds, for both arms
    assert lift.standard_error == pytest.approx(np.sqrt(np.var([0.71, 0.73], ddof=1) / 2))


def test_arms_with_different_numbers_of_seeds_are_refused():
    labels, scores, users = make_world(4)
    one = METRICS["auc"](labels, scores, users)
    with pytest.raises(ValueError, match="zip"):
        compute_lift("auc", [one, one], [one])


def test_effective_users_shrink_where_one_user_dominates():
    assert compute_effective_users([5, 5, 5, 5]) == pytest.approx(4)
    assert compute_effective_users([1000, 1, 1]) < 1.01


def test_two_users_give_a_finite_if_wide_interval():
    labels, users = [0, 1, 0, 1], np.array([0, 0, 1, 1])
    ours = METRICS["auc"](labels, [1, 2, 3, 4], users)
    theirs = METRICS["auc"](labels, [4, 2, 3, 1], users)
    lift = compute_lift("auc", [ours], [theirs])
    assert np.isfinite([lift.low, lift.high]).all()


def test_interval_covers_zero_in_about_95_of_100_null_worlds():
    """Two exchangeable scores, users of unequal weight, user effects in label and score."""
    covered, worlds = 0, 300
    for seed in range(worlds):
        labels, scores, users = make_world(seed, users=60, rows=900)
        draw = np.random.default_rng((seed, 1))
        shift = draw.normal(size=(2, 60))[:, users]
        ours, theirs = scores + draw.normal(size=(2, 900)) + shift
        arms = [[METRICS["auc"](labels, score, users)] for score in (ours, theirs)]
        lift = compute_lift("auc", *arms)
        covered += lift.low <= 0 <= lift.high
    assert 0.92 <= covered / worlds <= 0.98
