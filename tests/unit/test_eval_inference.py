"""The jackknife against real recomputation, and the interval against known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from ranking_eval.inference import (
    METRICS,
    ArmInfluence,
    JudgedRows,
    compute_effective_users,
    compute_lift,
)
from ranking_eval.metrics import (
    compute_auc,
    compute_calibration_ratio,
    compute_grouped_auc,
    compute_hit_rate,
    compute_log_loss,
    compute_mrr,
    compute_ndcg,
    compute_normalized_entropy,
)
from sail_features.errors import EvaluationError

WHOLE = {
    "auc": compute_auc,
    "log_loss": compute_log_loss,
    "normalized_entropy": compute_normalized_entropy,
    "calibration_ratio": compute_calibration_ratio,
    "calibration_gap": lambda *rows: abs(compute_calibration_ratio(*rows) - 1),
}
GROUPED = {
    "grouped_auc": ("gauc_impr", "users"),
    "gauc_pos": ("gauc_pos", "users"),
    "gauc_mean": ("gauc_mean", "users"),
    "request_gauc_impr": ("gauc_impr", "requests"),
    "request_gauc_pos": ("gauc_pos", "requests"),
    "request_gauc_mean": ("gauc_mean", "requests"),
}
LISTS = {"ndcg_at_10": compute_ndcg, "mrr": compute_mrr, "hit_rate_at_10": compute_hit_rate}


def recompute(metric, rows, scores, kept):
    labels, weights = rows.positive[kept], rows.weights[kept]
    if metric in WHOLE:
        return WHOLE[metric](labels, scores[kept], weights)
    if metric in LISTS:
        return LISTS[metric](labels, scores[kept], rows.requests[kept], weights).value
    name, groups = GROUPED[metric]
    found = compute_grouped_auc(labels, scores[kept], getattr(rows, groups)[kept], weights)
    return getattr(found, name)


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


def make_rows(seed, *, cluster="users"):
    labels, scores, users = make_world(seed, users=30, rows=500)
    draw = np.random.default_rng((seed, 9))
    requests = users * 4 + draw.integers(0, 4, users.size)
    rows = JudgedRows.of(
        labels == 1,
        users=users,
        requests=np.unique(requests, return_inverse=True)[1],
        weights=draw.integers(0, 4, users.size) / 2,
    )
    clusters = {"users": users, "requests": rows.requests, "items": draw.integers(0, 25, 500)}
    return JudgedRows.of(
        rows.positive,
        users=users,
        requests=rows.requests,
        weights=rows.weights,
        clusters=clusters[cluster],
    ), scores


def check_influence(metric, rows, scores):
    found = METRICS[metric](rows, scores)
    everything = np.ones(scores.size, bool)
    whole = recompute(metric, rows, scores, everything)
    assert found.value == pytest.approx(whole, abs=1e-12)
    expected = [
        whole - recompute(metric, rows, scores, rows.clusters != cluster)
        for cluster in range(rows.cluster_count)
    ]
    np.testing.assert_allclose(found.influence, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", [0, 1])
def test_influence_of_a_user_equals_recomputation_on_the_other_rows(metric, seed):
    check_influence(metric, *make_rows(seed))


@pytest.mark.parametrize("metric", METRICS)
def test_influence_of_a_request_equals_recomputation(metric):
    check_influence(metric, *make_rows(2, cluster="requests"))


@pytest.mark.parametrize("metric", [*WHOLE, *GROUPED])
def test_influence_of_clusters_that_cut_groups_equals_recomputation(metric):
    check_influence(metric, *make_rows(3, cluster="items"))


def test_a_list_in_several_clusters_is_refused():
    with pytest.raises(EvaluationError, match="a list lies in several clusters"):
        METRICS["ndcg_at_10"](*make_rows(3, cluster="items"))


def judge(metric, labels, scores, users):
    rows = JudgedRows.of(np.asarray(labels) == 1, users=np.asarray(users))
    return METRICS[metric](rows, np.asarray(scores, float))


def test_grouped_auc_counts_only_users_with_both_labels():
    found = judge("grouped_auc", [0, 1, 0, 1, 1], [1, 2, 3, 4, 5], [0, 0, 1, 1, 2])
    assert found.rows.tolist() == [2, 2, 0]
    assert found.influence[2] == 0


@pytest.mark.parametrize(
    ("metric", "labels", "users"),
    [
        ("auc", [0, 1, 0, 0], [0, 0, 1, 1]),  # only user 0 has a positive
        ("grouped_auc", [0, 1, 0, 0], [0, 0, 1, 1]),
        ("normalized_entropy", [0, 1, 0, 0], [0, 0, 1, 1]),
        ("calibration_ratio", [0, 1, 0, 0], [0, 0, 1, 1]),
        ("log_loss", [0, 1, 0, 0], [0, 0, 0, 0]),
        ("mrr", [0, 1, 0, 0], [0, 0, 1, 1]),
    ],
)
def test_an_interval_that_hangs_on_one_user_is_an_error(metric, labels, users):
    with pytest.raises(EvaluationError, match="one cluster holds every row"):
        judge(metric, labels, [0.1, 0.2, 0.3, 0.4], users)


@pytest.mark.parametrize("metric", ["auc", "grouped_auc", "gauc_pos", "request_gauc_mean"])
def test_a_constant_score_is_one_half_whoever_is_left_out(metric):
    rows, _ = make_rows(4)
    found = METRICS[metric](rows, np.full(rows.positive.size, 7.0))
    assert found.value == 0.5
    np.testing.assert_allclose(found.influence, 0, atol=1e-15)


def test_a_cluster_whose_rows_all_weigh_nothing_has_no_influence():
    rows, scores = make_rows(5)
    weights = np.where(rows.clusters == 3, 0.0, rows.weights)
    silent = JudgedRows.of(rows.positive, users=rows.users, requests=rows.requests, weights=weights)
    for metric in METRICS:
        found = METRICS[metric](silent, scores)
        assert (found.influence[3], found.rows[3]) == (0, 0)


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "log_loss"])
def test_one_label_only_is_an_error(metric):
    rows = JudgedRows.of(np.zeros(6, bool), users=np.arange(6) // 2)
    with pytest.raises(EvaluationError, match="label"):
        METRICS[metric](rows, np.linspace(0, 1, 6))


def arm_of(*estimates):
    return ArmInfluence(
        np.array([found.value for found in estimates]),
        np.stack([found.influence for found in estimates], axis=1),
    )


def test_interval_is_the_textbook_jackknife_with_students_t():
    labels, scores, users = make_world(2)
    worse = np.round(scores, 1)
    ours, theirs = (judge("auc", labels, score, users) for score in (scores, worse))
    lift = compute_lift("auc", arm_of(ours), arm_of(theirs), ours.rows)
    differences = ours.influence - theirs.influence
    count = differences.size
    error = np.sqrt((count - 1) / count * np.sum((differences - differences.mean()) ** 2))
    rows = np.bincount(users)
    effective = rows.sum() ** 2 / (rows**2).sum()
    half = student.ppf(0.975, effective - 1) * error
    assert lift.delta == compute_auc(labels, scores) - compute_auc(labels, worse)
    assert lift.standard_error == pytest.approx(error, rel=1e-9)
    assert lift.effective_users == pytest.approx(effective)
    assert (lift.high - lift.low) / 2 == pytest.approx(half, rel=1e-9)
    assert lift.p_value == pytest.approx(2 * student.sf(abs(lift.delta) / error, effective - 1))
    assert (lift.seed_spread, lift.training_noise, lift.training_error) == (0, "none", 0)


def test_identical_arms_differ_by_exactly_nothing():
    labels, scores, users = make_world(3)
    same = judge("auc", labels, scores, users)
    lift = compute_lift("auc", arm_of(same, same), arm_of(same, same), same.rows)
    assert (lift.delta, lift.low, lift.high, lift.seed_spread) == (0, 0, 0, 0)
    assert lift.p_value == 1


def flat(*values):
    """Return an arm on which users agree in everything: all variance is training's."""
    return ArmInfluence(np.array(values), np.zeros((50, len(values))))


def test_seeds_average_the_difference_and_add_the_training_variance():
    lift = compute_lift("auc", flat(0.71, 0.73), flat(0.60, 0.60), np.full(50, 10.0))
    assert lift.delta == pytest.approx(0.12)
    assert lift.seed_spread == pytest.approx(np.std([0.11, 0.13], ddof=1))
    expected = np.sqrt(np.var([0.71, 0.73], ddof=1) / 2)
    assert lift.standard_error == lift.training_error == pytest.approx(expected)
    assert lift.training_noise == "seed spread"


def test_calibrated_training_variance_takes_the_place_of_the_spread():
    lift = compute_lift(
        "auc", flat(0.71, 0.73), flat(0.6, 0.6), np.full(50, 10.0), training_variance=9e-6
    )
    assert lift.standard_error == pytest.approx(np.sqrt((9e-6 + 9e-6) / 2))
    assert lift.training_noise == "calibrated"


def test_arms_with_different_numbers_of_seeds_are_refused():
    with pytest.raises(ValueError, match="broadcast"):
        compute_lift("auc", flat(0.1, 0.2, 0.3), flat(0.1, 0.2), np.full(50, 10.0))


def test_effective_users_shrink_where_one_user_dominates():
    assert compute_effective_users([5, 5, 5, 5]) == pytest.approx(4)
    assert compute_effective_users([1000, 1, 1]) < 1.01


def test_two_users_give_a_finite_if_wide_interval():
    labels, users = [0, 1, 0, 1], [0, 0, 1, 1]
    ours, theirs = (judge("auc", labels, s, users) for s in ([1, 2, 3, 4], [4, 2, 3, 1]))
    lift = compute_lift("auc", arm_of(ours), arm_of(theirs), ours.rows)
    assert np.isfinite([lift.low, lift.high]).all()


def test_interval_covers_zero_in_about_95_of_100_null_worlds():
    """Two exchangeable scores, users of unequal weight, user effects in label and score."""
    covered, worlds = 0, 300
    for seed in range(worlds):
        labels, scores, users = make_world(seed, users=60, rows=900)
        draw = np.random.default_rng((seed, 1))
        shift = draw.normal(size=(2, 60))[:, users]
        ours, theirs = scores + draw.normal(size=(2, 900)) + shift
        arms = [judge("auc", labels, score, users) for score in (ours, theirs)]
        lift = compute_lift("auc", *map(arm_of, arms), arms[0].rows)
        covered += lift.low <= 0 <= lift.high
    assert 0.92 <= covered / worlds <= 0.98
