"""Metrics of ranked impressions: pure functions of arrays, exact with ties, one a file."""

from ranking_eval.metrics.auc import compute_auc
from ranking_eval.metrics.grouped_auc import GroupedAuc, compute_grouped_auc
from ranking_eval.metrics.log_loss import compute_log_loss

__all__ = ["GroupedAuc", "compute_auc", "compute_grouped_auc", "compute_log_loss"]
