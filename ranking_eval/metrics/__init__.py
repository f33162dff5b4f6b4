"""Metrics of ranked impressions: pure functions of arrays, exact with ties, one a file."""

from ranking_eval.metrics.auc import compute_auc
from ranking_eval.metrics.calibration import (
    CalibrationCurve,
    compute_calibration_curve,
    compute_calibration_error,
    compute_calibration_ratio,
)
from ranking_eval.metrics.grouped_auc import GroupedAuc, compute_grouped_auc
from ranking_eval.metrics.hit_rate import compute_hit_rate
from ranking_eval.metrics.log_loss import compute_log_loss
from ranking_eval.metrics.mrr import compute_mrr
from ranking_eval.metrics.ndcg import compute_ndcg
from ranking_eval.metrics.normalized_entropy import compute_normalized_entropy
from ranking_eval.metrics.ranked_lists import ListMetric
from ranking_eval.metrics.recall_at_coverage import compute_recall_at_coverage

__all__ = [
    "CalibrationCurve",
    "GroupedAuc",
    "ListMetric",
    "compute_auc",
    "compute_calibration_curve",
    "compute_calibration_error",
    "compute_calibration_ratio",
    "compute_grouped_auc",
    "compute_hit_rate",
    "compute_log_loss",
    "compute_mrr",
    "compute_ndcg",
    "compute_normalized_entropy",
    "compute_recall_at_coverage",
]
