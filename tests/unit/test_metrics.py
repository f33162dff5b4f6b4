"""AUC, grouped AUC and log loss against loops that anyone can check by eye."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ranking_eval.metrics import compute_auc, compute_grouped_auc, compute_log_loss
from sail_features.errors import EvaluationError

rows_with_ties = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 4)), min_size=2, max_size=40
)


def auc_of_pairs(labels, scores, weights=None):
    """Score every (positive, negative) pair: 1 won, one half tied, 0 lost."""
    rows = list(zip(labels, scores, weights or [1] * len(labels), strict=True))
    won, pairs = 0.0, 0
    for label, score, weight in rows:
        for other_label, other, other_weight in rows:
            if label == 1 and other_label == 0:
                pairs += weight * other_weight
                outcome = 1.0 if score > other else 0.5 if score == other else 0.0
                won += weight * other_weight * outcome
    return won / pairs


def gauc_of_loops(labels, scores, groups, weigh, weights=None):
    total, whole = 0.0, 0.0
    weights = weights or [1] * len(labels)
    for group in sorted(set(groups)):
        mine = [row for row in range(len(groups)) if groups[row] == group and weights[row]]
        own = [[values[row] for row in mine] for values in (labels, scores, weights)]
        if len(set(own[0])) == 2:
            weight = weigh(own[0], own[2])
            total += weight * auc_of_pairs(*own)
            whole += weight
    return total / whole


WEIGH = {
    "gauc_impr": lambda labels, weights: sum(weights),
    "gauc_pos": lambda labels, weights: sum(np.multiply(labels, weights)),
    "gauc_mean": lambda labels, weights: 1,
}


def test_auc_of_a_world_with_an_obvious_answer():
    assert compute_auc([0, 1], [0.1, 0.9]) == 1.0
    assert compute_auc([0, 1], [0.9, 0.1]) == 0.0
    assert compute_auc([0, 0, 1], [0.1, 0.9, 0.5]) == 1 / 2
    assert compute_auc([0, 1, 0, 1], [7, 7, 7, 7]) == 1 / 2


@given(rows_with_ties)
def test_auc_equals_the_double_loop_with_ties(rows):
    labels, scores, _ = zip(*rows, strict=True)
    if len(set(labels)) == 2:
        assert compute_auc(labels, scores) == auc_of_pairs(labels, scores)


@given(rows_with_ties)
def test_grouped_auc_equals_the_loop_over_groups(rows):
    labels, scores, groups = zip(*rows, strict=True)
    mixed = [g for g in set(groups) if len({la for la, _, other in rows if other == g}) == 2]
    if mixed:
        found = compute_grouped_auc(labels, scores, groups)
        for name, weigh in WEIGH.items():
            expected = gauc_of_loops(labels, scores, groups, weigh)
            assert getattr(found, name) == pytest.approx(expected, abs=1e-12)
        assert (found.groups, found.one_class) == (len(mixed), len(set(groups)) - len(mixed))


@given(rows_with_ties, st.data())
def test_weighted_auc_and_grouped_auc_equal_the_loops(rows, data):
    labels, scores, groups = zip(*rows, strict=True)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    weights = [count / 2 for count in counts]
    weighed = [row for row, weight in zip(rows, weights, strict=True) if weight]
    if len({label for label, _, _ in weighed}) == 2:
        expected = auc_of_pairs(labels, scores, weights)
        assert compute_auc(labels, scores, weights) == pytest.approx(expected, abs=1e-12)
    if len({(label, group) for label, _, group in weighed}) > len({g for _, _, g in weighed}):
        found = compute_grouped_auc(labels, scores, groups, weights)
        for name, weigh in WEIGH.items():
            expected = gauc_of_loops(labels, scores, groups, weigh, weights)
            assert getattr(found, name) == pytest.approx(expected, abs=1e-12)


def test_a_weight_of_two_is_the_row_twice():
    labels, scores = [0, 1, 1, 0], [0.1, 0.2, 0.3, 0.3]
    twice = compute_auc([*labels, 1], [*scores, 0.2])
    assert compute_auc(labels, scores, [1, 2, 1, 1]) == twice


def test_auc_equals_scikit_learn_on_many_rows_of_any_kind():
    draw = np.random.default_rng(0)
    labels, weights = draw.integers(0, 2, 20_000), draw.random(20_000)
    for scores in (draw.random(20_000), draw.integers(0, 9, 20_000), 1e9 + draw.random(20_000)):
        assert compute_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
        expected = roc_auc_score(labels, scores, sample_weight=weights)
        assert compute_auc(labels, scores, weights) == pytest.approx(expected)


def test_grouped_auc_takes_ids_of_any_kind():
    labels, scores = [0, 1, 1, 0], [0.1, 0.2, 0.3, 0.4]
    expected = (0.5, 0.5, 0.5, 2, 0)
    assert compute_grouped_auc(labels, scores, ["b", "b", "a", "a"]) == expected
    assert compute_grouped_auc(labels, scores, [-5, -5, 2**60, 2**60]) == expected


def test_grouped_auc_weights_groups_by_impressions():
    labels = [0, 1, 0, 1, 0]
    scores = [0.1, 0.9, 0.9, 0.1, 0.9]
    assert compute_grouped_auc(labels, scores, [0, 0, 1, 1, 1]).gauc_impr == 2 / 5


def test_scores_that_differ_in_the_last_bit_are_not_tied():
    barely_above = np.nextafter(0.5, 1.0)
    assert compute_auc([0, 1], [0.5, barely_above]) == 1.0
    assert compute_grouped_auc([0, 1], [0.5, barely_above], [0, 0]).gauc_impr == 1.0


def test_negative_zero_ties_with_zero_and_infinities_are_ordered():
    assert compute_auc([0, 1], [0.0, -0.0]) == 0.5
    assert compute_grouped_auc([0, 1], [0.0, -0.0], [3, 3]).gauc_impr == 0.5
    assert compute_auc([0, 1], [-np.inf, np.inf]) == 1.0


def test_log_loss_is_the_mean_negative_log_likelihood():
    expected = -(math.log(0.8) + math.log(1 - 0.3)) / 2
    assert compute_log_loss([1, 0], [0.8, 0.3]) == pytest.approx(expected, abs=1e-15)


def test_log_loss_of_a_certain_mistake_is_finite():
    assert 30 < compute_log_loss([1], [0.0]) < 40


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([1, 1], [0.1, 0.2], "all 2 rows have label 1"),
        ([0, 1], [0.1, np.nan], "1 scores are NaN"),
        ([0, 2], [0.1, 0.2], "found 2"),
        ([0, 1], [0.1], r"labels \(2,\), scores \(1,\)"),
        ([], [], r"labels \(0,\)"),
    ],
)
def test_auc_refuses_what_it_is_not_defined_on(labels, scores, words):
    with pytest.raises(EvaluationError, match=words):
        compute_auc(labels, scores)


def test_grouped_auc_without_a_mixed_group_is_an_error():
    with pytest.raises(EvaluationError, match="no group holds both labels"):
        compute_grouped_auc([0, 1], [0.1, 0.2], [0, 1])


def test_groups_of_one_label_follow_the_policy():
    labels, scores, groups = [0, 1, 1, 1], [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]
    assert compute_grouped_auc(labels, scores, groups) == (1, 1, 1, 1, 1)
    half = compute_grouped_auc(labels, scores, groups, one_class="half")
    assert half == (3 / 4, 2 / 3, 3 / 4, 2, 1)
    with pytest.raises(EvaluationError, match="1 groups hold one label only"):
        compute_grouped_auc(labels, scores, groups, one_class="raise")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0], r"weights \(1,\) for 2 rows"),
        ([1.0, -1.0], "negative or not finite"),
        ([1.0, np.nan], "negative or not finite"),
        ([0.0, 0.0], "every weight is 0"),
        ([0.0, 1.0], "all 1 rows have label 1"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights, words):
    with pytest.raises(EvaluationError, match=words):
        compute_auc([0, 1], [0.1, 0.2], weights)


def test_grouped_auc_needs_a_group_for_each_row():
    with pytest.raises(EvaluationError, match="for 2 rows"):
        compute_grouped_auc([0, 1], [0.1, 0.2], [0])


def test_log_loss_refuses_what_is_no_probability():
    with pytest.raises(EvaluationError, match="1 probabilities lie outside 0 to 1"):
        compute_log_loss([0, 1], [0.5, 1.5])
