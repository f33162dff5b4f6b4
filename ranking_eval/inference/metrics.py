"""Every metric that has an interval, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ranking_eval.inference.auc import Weighting, estimate_auc, estimate_grouped_auc
from ranking_eval.inference.estimate import Estimate
from ranking_eval.inference.means import (
    estimate_calibration_gap,
    estimate_calibration_ratio,
    estimate_list_metric,
    estimate_log_loss,
    estimate_normalized_entropy,
)
from ranking_eval.inference.rows import JudgedRows
from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.metrics.hit_rate import score_hits
from ranking_eval.metrics.mrr import score_reciprocal_rank
from ranking_eval.metrics.ndcg import score_ndcg

Estimator = Callable[[JudgedRows, Floats], Estimate]


def _estimate_auc(rows: JudgedRows, scores: Floats) -> Estimate:
    if rows.folds is None:
        return estimate_auc(rows, scores)
    return estimate_grouped_auc(rows, scores, rows.folds, "impr")


def _estimate_grouped(
    rows: JudgedRows, scores: Floats, groups: Codes, weighting: Weighting
) -> Estimate:
    return estimate_grouped_auc(rows, scores, rows.within_folds(groups), weighting)


METRICS: Final[Mapping[str, Estimator]] = MappingProxyType(
    {
        "auc": _estimate_auc,
        "grouped_auc": lambda rows, scores: _estimate_grouped(rows, scores, rows.users, "impr"),
        "gauc_pos": lambda rows, scores: _estimate_grouped(rows, scores, rows.users, "pos"),
        "gauc_mean": lambda rows, scores: _estimate_grouped(rows, scores, rows.users, "mean"),
        "request_gauc_impr": lambda rows, scores: _estimate_grouped(
            rows, scores, rows.requests, "impr"
        ),
        "request_gauc_pos": lambda rows, scores: _estimate_grouped(
            rows, scores, rows.requests, "pos"
        ),
        "request_gauc_mean": lambda rows, scores: _estimate_grouped(
            rows, scores, rows.requests, "mean"
        ),
        "log_loss": estimate_log_loss,
        "normalized_entropy": estimate_normalized_entropy,
        "calibration_ratio": estimate_calibration_ratio,
        "calibration_gap": estimate_calibration_gap,
        "ndcg_at_10": lambda rows, scores: estimate_list_metric(
            "ndcg", score_ndcg(10), rows, scores, rows.requests
        ),
        "mrr": lambda rows, scores: estimate_list_metric(
            "mrr", score_reciprocal_rank, rows, scores, rows.requests
        ),
        "hit_rate_at_10": lambda rows, scores: estimate_list_metric(
            "hit_rate", score_hits(10), rows, scores, rows.requests
        ),
    }
)
"""``grouped_auc`` is ``gauc_impr`` by user, ``request_`` the same by request."""

REPORTED: Final = ("auc", "grouped_auc", "log_loss", "normalized_entropy", "calibration_gap")
"""The metrics of every evaluation, in the order of the report."""
