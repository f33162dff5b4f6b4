"""List metrics against the mean over every order of the tied rows, and scikit-learn."""

from __future__ import annotations

from itertools import permutations
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from ranking_eval.metrics import compute_hit_rate, compute_mrr, compute_ndcg
from sail_features.errors import EvaluationError

lists = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=6)


def ndcg_of(labels, k):
    gain = sum(label / log2(2 + place) for place, label in enumerate(labels[:k]))
    return gain / sum(1 / log2(2 + place) for place in range(min(k, sum(labels))))


def reciprocal_rank_of(labels, k):
    return 1 / (1 + labels.index(1))


def hit_of(labels, k):
    return float(any(labels[:k]))


def mean_over_orders(metric, rows, k):
    """Take every order of all rows that has the scores descending."""
    values = []
    for order in permutations(rows):
        scores = [score for _, score in order]
        if scores == sorted(scores, reverse=True):
            values.append(metric([label for label, _ in order], k))
    return sum(values) / len(values)


@settings(deadline=None)
@given(lists, st.integers(1, 7))
def test_ties_take_the_mean_over_every_order(rows, k):
    labels, scores = zip(*rows, strict=True)
    if any(labels):
        found = {
            ndcg_of: compute_ndcg(labels, scores, [3] * len(rows), k=k),
            reciprocal_rank_of: compute_mrr(labels, scores, [3] * len(rows)),
            hit_of: compute_hit_rate(labels, scores, [3] * len(rows), k=k),
        }
        for metric, value in found.items():
            assert value.value == pytest.approx(mean_over_orders(metric, rows, k), abs=1e-12)


@pytest.mark.parametrize("digits", [1, 9])
def test_ndcg_equals_scikit_learn_with_and_without_ties(digits):
    draw = np.random.default_rng(digits)
    labels, scores = draw.integers(0, 2, (50, 20)), np.round(draw.random((50, 20)), digits)
    requests = np.repeat(np.arange(50), 20)
    found = compute_ndcg(labels.ravel(), scores.ravel(), requests, k=5)
    assert found.value == pytest.approx(ndcg_score(labels, scores, k=5))
    assert found.lists == 50


def test_the_order_of_rows_and_lists_changes_nothing():
    draw = np.random.default_rng(0)
    labels, scores, requests = (
        draw.integers(0, 2, 200),
        draw.integers(0, 3, 200),
        np.arange(200) % 9,
    )
    order = draw.permutation(200)
    for metric in (compute_ndcg, compute_mrr, compute_hit_rate):
        shuffled = metric(labels[order], scores[order], requests[order])
        assert shuffled.value == pytest.approx(metric(labels, scores, requests).value, abs=1e-12)


@pytest.mark.parametrize("metric", [compute_ndcg, compute_mrr, compute_hit_rate])
def test_lists_without_a_positive_follow_the_policy_and_are_counted(metric):
    labels, scores, requests = [1, 0, 0, 0], [2, 1, 2, 1], ["a", "a", "b", "b"]
    assert metric(labels, scores, requests) == (1.0, 1, 1)
    assert metric(labels, scores, requests, without_positive="zero") == (0.5, 1, 1)


@pytest.mark.parametrize("metric", [compute_ndcg, compute_mrr, compute_hit_rate])
def test_a_list_counts_by_the_mean_weight_of_its_rows(metric):
    labels, scores = [1, 0, 0, 1] + [0] * 10, [2, 1, 2, 1] + [1.5] * 10
    requests = [0, 0, 1, 1] + [1] * 10
    first = metric(labels[:2], scores[:2], requests[:2]).value
    second = metric(labels[2:], scores[2:], requests[2:]).value
    weights = [3.0, 3.0] + [1.0] * 12
    expected = (3 * first + second) / 4
    assert metric(labels, scores, requests, weights).value == pytest.approx(expected)
    assert metric(labels, scores, requests, [1.0] * 2 + [0.0] * 12) == (first, 1, 0)


def test_no_positive_at_all_is_an_error():
    with pytest.raises(EvaluationError, match="no list has a row with label 1"):
        compute_ndcg([0, 0], [0.1, 0.2], [0, 1])
