"""Metrics against loops that anyone can check by eye."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking_eval.metrics import compute_auc, compute_grouped_auc, compute_log_loss
from sail_features.errors import EvaluationError

rows_with_ties = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 4)), min_size=2, max_size=40
)


def auc_of_pairs(labels, scores):
    """Score every (positive, negative) pair: 1 won, one half tied, 0 lost."""
    won, pairs = 0.0, 0
    for label, score in zip(labels, scores, strict=True):
        for other_label, other in zip(labels, scores, strict=True):
            if label == 1 and other_label == 0:
                pairs += 1
                won += 1.0 if score > other else 0.5 if score == other else 0.0
    return won / pairs


def grouped_auc_of_loops(labels, scores, groups):
    total, weight = 0.0, 0
    for group in sorted(set(groups)):
        mine = [row for row in range(len(groups)) if groups[row] == group]
        own_labels = [labels[row] for row in mine]
        if len(set(own_labels)) == 2:
            total += len(mine) * auc_of_pairs(own_labels, [scores[row] for row in mine])
            weight += len(mine)
    return total / weight


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
        assert found.value == pytest.approx(grouped_auc_of_loops(labels, scores, groups), abs=1e-12)
        assert (found.groups, found.skipped) == (len(mixed), len(set(groups)) - len(mixed))


def test_grouped_auc_takes_ids_of_any_kind():
    labels, scores = [0, 1, 1, 0], [0.1, 0.2, 0.3, 0.4]
    expected = (0.5, 2, 0)
    assert compute_grouped_auc(labels, scores, ["b", "b", "a", "a"]) == expected
    assert compute_grouped_auc(labels, scores, [-5, -5, 2**60, 2**60]) == expected


def test_grouped_auc_weights_groups_by_impressions():
    labels = [0, 1, 0, 1, 0]
    scores = [0.1, 0.9, 0.9, 0.1, 0.9]
    assert compute_grouped_auc(labels, scores, [0, 0, 1, 1, 1]).value == 2 / 5


def test_scores_that_differ_in_the_last_bit_are_not_tied():
    barely_above = np.nextafter(0.5, 1.0)
    assert compute_auc([0, 1], [0.5, barely_above]) == 1.0
    assert compute_grouped_auc([0, 1], [0.5, barely_above], [0, 0]).value == 1.0


def test_negative_zero_ties_with_zero_and_infinities_are_ordered():
    assert compute_auc([0, 1], [0.0, -0.0]) == 0.5
    assert compute_grouped_auc([0, 1], [0.0, -0.0], [3, 3]).value == 0.5
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


def test_grouped_auc_needs_a_group_for_each_row():
    with pytest.raises(EvaluationError, match="for 2 rows"):
        compute_grouped_auc([0, 1], [0.1, 0.2], [0])


def test_log_loss_refuses_what_is_no_probability():
    with pytest.raises(EvaluationError, match="1 probabilities lie outside 0 to 1"):
        compute_log_loss([0, 1], [0.5, 1.5])
