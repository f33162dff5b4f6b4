"""Normalised entropy, calibration and recall at coverage against plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from ranking_eval.metrics import (
    compute_calibration_curve,
    compute_calibration_error,
    compute_calibration_ratio,
    compute_log_loss,
    compute_normalized_entropy,
    compute_recall_at_coverage,
)
from sail_features.errors import EvaluationError


@pytest.fixture
def rows():
    draw = np.random.default_rng(0)
    probabilities = np.round(draw.random(500), 2)
    labels = (draw.random(500) < probabilities).astype(int)
    return labels, probabilities, draw.integers(0, 4, 500) / 2


def test_weighted_log_loss_equals_scikit_learn(rows):
    labels, probabilities, weights = rows
    expected = log_loss(labels, probabilities, sample_weight=weights)
    assert compute_log_loss(labels, probabilities, weights) == pytest.approx(expected)


def test_normalised_entropy_of_the_base_rate_is_one(rows):
    labels, _, weights = rows
    rate = np.average(labels, weights=weights)
    assert compute_normalized_entropy(labels, np.full(500, rate), weights) == pytest.approx(1)


def test_normalised_entropy_is_log_loss_over_that_of_the_base_rate():
    loss = -(2 * math.log(0.9) + math.log(0.8) + math.log(0.6)) / 4
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    found = compute_normalized_entropy([0, 0, 0, 1], [0.1, 0.1, 0.2, 0.6])
    assert found == pytest.approx(loss / entropy)


def test_normalised_entropy_of_one_label_is_an_error():
    with pytest.raises(EvaluationError, match="all 2 rows have label 0"):
        compute_normalized_entropy([0, 0], [0.1, 0.2])


def test_the_curve_has_bins_of_equal_weight_and_keeps_every_row(rows):
    labels, _, _ = rows
    probabilities = np.random.default_rng(1).permutation(500) / 500
    curve = compute_calibration_curve(labels, probabilities, bins=10)
    assert curve.weight.tolist() == [50] * 10
    for place in range(10):
        inside = (probabilities >= place / 10) & (probabilities < (place + 1) / 10)
        assert curve.predicted[place] == pytest.approx(probabilities[inside].mean())
        assert curve.observed[place] == pytest.approx(labels[inside].mean())


def test_the_curve_does_not_depend_on_the_order_of_tied_rows(rows):
    labels, probabilities, weights = rows
    order = np.random.default_rng(2).permutation(500)
    curve = compute_calibration_curve(labels, probabilities, weights)
    shuffled = compute_calibration_curve(labels[order], probabilities[order], weights[order])
    np.testing.assert_allclose(np.stack(curve), np.stack(shuffled), atol=1e-12)
    assert curve.weight.sum() == pytest.approx(weights.sum())


def test_a_constant_prediction_is_one_bin():
    curve = compute_calibration_curve([0, 1, 1, 0], [0.4] * 4)
    assert [part.tolist() for part in curve] == [[0.4], [0.5], [4.0]]
    assert compute_calibration_error([0, 1, 1, 0], [0.4] * 4) == pytest.approx(0.1)


def test_calibration_error_is_the_weighted_distance_from_the_diagonal():
    labels, probabilities = [0, 0, 1, 1], [0.1, 0.3, 0.5, 0.7]
    expected = 0.5 * 0.2 + 0.5 * 0.4
    assert compute_calibration_error(labels, probabilities, bins=2) == pytest.approx(expected)
    heavy = compute_calibration_error(labels, probabilities, [3, 3, 1, 1], bins=1)
    assert heavy == pytest.approx(abs((3 * 0.4 + 1.2) / 8 - 2 / 8))


def test_calibration_ratio_is_expected_over_observed():
    assert compute_calibration_ratio([0, 1], [0.9, 0.3], [1, 2]) == pytest.approx(1.5 / 2)
    with pytest.raises(EvaluationError, match="no row has label 1"):
        compute_calibration_ratio([0, 0], [0.9, 0.3])


def test_recall_at_coverage_counts_the_best_rows():
    labels, scores = [1, 0, 1, 0, 1], [0.9, 0.8, 0.7, 0.2, 0.1]
    assert compute_recall_at_coverage(labels, scores, coverage=0.4) == pytest.approx(1 / 3)
    assert compute_recall_at_coverage(labels, scores, coverage=0.6) == pytest.approx(2 / 3)
    assert compute_recall_at_coverage(labels, scores, coverage=1.0) == 1.0
    weighted = compute_recall_at_coverage(labels, scores, [2, 0, 1, 1, 1], coverage=0.4)
    assert weighted == pytest.approx(2 / 4)


def test_recall_of_a_constant_score_is_the_coverage():
    assert compute_recall_at_coverage([1, 0, 1], [5, 5, 5], coverage=0.2) == pytest.approx(0.2)


@pytest.mark.parametrize("coverage", [0.0, 1.5])
def test_a_coverage_outside_0_to_1_is_refused(coverage):
    with pytest.raises(EvaluationError, match="expected above 0 up to 1"):
        compute_recall_at_coverage([1, 0], [1, 2], coverage=coverage)
