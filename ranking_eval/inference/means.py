"""Metrics that are means over rows or lists, with the exact influence of each cluster."""

from __future__ import annotations

import numpy as np

from ranking_eval.inference.estimate import Estimate, estimate_ratio
from ranking_eval.inference.rows import JudgedRows
from ranking_eval.metrics.arrays import (
    Codes,
    Floats,
    check_both_labels,
    check_probabilities,
    sum_by_group,
)
from ranking_eval.metrics.log_loss import compute_row_losses
from ranking_eval.metrics.normalized_entropy import compute_entropy
from ranking_eval.metrics.ranked_lists import ListScore, average_by_list, score_lists
from sail_features.errors import EvaluationError


def estimate_log_loss(rows: JudgedRows, scores: Floats) -> Estimate:
    """Compute the log loss of probabilities with the influence of each cluster."""
    weights = _sum(rows, rows.weights)
    losses = _sum(rows, rows.weights * compute_row_losses(rows.positive, scores))
    return estimate_ratio("log_loss", losses, weights, weights)


def estimate_normalized_entropy(rows: JudgedRows, scores: Floats) -> Estimate:
    """Compute the normalised entropy; the base rate too is that without the cluster.

    Raises
    ------
    EvaluationError
        One label only, or one cluster holds every row of a label.
    """
    check_both_labels("normalized_entropy", rows.positive, rows.weights)
    weights = _sum(rows, rows.weights)
    rate = estimate_ratio(
        "normalized_entropy", _sum(rows, rows.weights * rows.positive), weights, weights
    )
    loss = estimate_log_loss(rows, scores)
    without = compute_entropy(rate.value - rate.influence)
    if not without.all():
        raise EvaluationError.undefined(
            "normalized_entropy interval", "one cluster holds every row of a label"
        )
    value = loss.value / float(compute_entropy(rate.value))
    return Estimate(value, value - (loss.value - loss.influence) / without, weights)


def estimate_calibration_ratio(rows: JudgedRows, scores: Floats) -> Estimate:
    """Compute expected over observed positives with the influence of each cluster."""
    check_probabilities("calibration_ratio", scores)
    check_both_labels("calibration_ratio", rows.positive, rows.weights)
    return estimate_ratio(
        "calibration_ratio",
        _sum(rows, rows.weights * scores),
        _sum(rows, rows.weights * rows.positive),
        _sum(rows, rows.weights),
    )


def estimate_calibration_gap(rows: JudgedRows, scores: Floats) -> Estimate:
    """Compute how far expected over observed positives is from 1, with each cluster's influence.

    Notes
    -----
    Lower is better. Not smooth where an arm is exactly right: an interval that reaches
    there is only rough (the form is chosen here).
    """
    ratio = estimate_calibration_ratio(rows, scores)
    gap = abs(ratio.value - 1)
    return Estimate(gap, gap - np.abs(ratio.value - ratio.influence - 1), ratio.rows)


def estimate_list_metric(
    metric: str, score: ListScore, rows: JudgedRows, scores: Floats, lists: Codes
) -> Estimate:
    """Compute the mean over lists with a positive, with the influence of each cluster.

    Raises
    ------
    EvaluationError
        No list has a positive, or a list lies in several clusters.
    """
    of_list, positives = score_lists(score, rows.positive, scores, lists)
    cluster = np.zeros(of_list.size, np.int64)
    cluster[lists] = rows.clusters
    if (cluster[lists] != rows.clusters).any():
        raise EvaluationError.undefined(metric, "a list lies in several clusters")
    weights = np.where(positives > 0, average_by_list(rows.weights, lists), 0.0)
    if not weights.any():
        raise EvaluationError.undefined(metric, "no list has a row with label 1")
    counted = sum_by_group(weights, cluster, rows.cluster_count)
    sums = sum_by_group(weights * of_list, cluster, rows.cluster_count)
    return estimate_ratio(metric, sums, counted, counted)


def _sum(rows: JudgedRows, values: Floats) -> Floats:
    return sum_by_group(values, rows.clusters, rows.cluster_count)
