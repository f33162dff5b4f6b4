"""AUC and grouped AUC with the exact influence of each cluster.

A cluster touches the pairs of its positives with all negatives of the group and
those of all positives with its negatives; the pairs within the cluster are in both.
What is left without it, over the pairs that are left, is the AUC without it. AUC is
the case of a single group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import numpy as np

from ranking_eval.inference.estimate import Estimate, subtract
from ranking_eval.inference.rows import JudgedRows
from ranking_eval.metrics.arrays import Codes, Floats, check_both_labels, sum_by_group
from ranking_eval.metrics.score_order import order_scores
from ranking_eval.metrics.wins import CellWins, count_wins
from sail_features.errors import EvaluationError

Weighting = Literal["impr", "pos", "mean"]
GroupWeight = Callable[[Floats, Floats], Floats]

WEIGHTS: Final[Mapping[Weighting, GroupWeight]] = MappingProxyType(
    {
        "impr": lambda positives, negatives: positives + negatives,
        "pos": lambda positives, negatives: positives,
        "mean": lambda positives, negatives: np.ones_like(positives),
    }
)
"""What a group weighs, from the weights of its positives and negatives."""


class _Cells(NamedTuple):
    """The groups cut by cluster: code of each row's cell, and what each cell belongs to."""

    of_row: Codes
    group: Codes
    cluster: Codes


def estimate_auc(rows: JudgedRows, scores: Floats) -> Estimate:
    """Compute the AUC with the influence of each cluster.

    Raises
    ------
    EvaluationError
        One label only, or one cluster holds every row of a label.

    Notes
    -----
    O(n log n).

    References
    ----------
    Obuchowski, "Nonparametric analysis of clustered ROC curve data",
    Biometrics 53, 1997, for the sums by cluster.
    """
    check_both_labels("auc", rows.positive, rows.weights)
    clusters = np.arange(rows.cluster_count)
    cells = _Cells(rows.clusters, np.zeros_like(clusters), clusters)
    return _estimate("auc", rows, scores, cells, WEIGHTS["mean"])


def estimate_grouped_auc(
    rows: JudgedRows, scores: Floats, groups: Codes, weighting: Weighting
) -> Estimate:
    """Compute a grouped AUC with the influence of each cluster.

    Groups of one label are left out, and so is a group that becomes one without a
    cluster. Groups and clusters may lie across each other.

    Raises
    ------
    EvaluationError
        No group has both labels, or only one cluster's groups do.
    """
    cells = _cut(groups, rows)
    return _estimate(f"gauc_{weighting}", rows, scores, cells, WEIGHTS[weighting])


def _cut(groups: Codes, rows: JudgedRows) -> _Cells:
    if np.array_equal(groups, rows.clusters):
        codes = np.arange(rows.cluster_count)
        return _Cells(groups, codes, codes)
    pairs = groups * rows.cluster_count + rows.clusters
    distinct, of_row = np.unique(pairs, return_inverse=True)
    group, cluster = np.divmod(distinct, rows.cluster_count)
    return _Cells(of_row, group, cluster)


def _estimate(
    metric: str, rows: JudgedRows, scores: Floats, cells: _Cells, weight: GroupWeight
) -> Estimate:
    wins = count_wins(order_scores(scores), rows.positive, rows.weights, cells.of_row, cells.group)
    size = int(cells.group.max()) + 1
    positives = sum_by_group(wins.positives, cells.group, size)
    negatives = sum_by_group(wins.negatives, cells.group, size)
    won = sum_by_group(wins.of_positives, cells.group, size)
    weighed, weights = _weigh(won, positives, negatives, weight)
    if not weights.any():
        raise EvaluationError.undefined(metric, "no group holds both labels")

    left = _weigh(*_leave_out(wins, won, positives, negatives, cells.group), weight)
    changes = (
        of_group[cells.group] - of_cell
        for of_group, of_cell in zip((weighed, weights), left, strict=True)
    )
    lost, lost_weight = (
        sum_by_group(change, cells.cluster, rows.cluster_count) for change in changes
    )
    weight_left = subtract(weights.sum(), lost_weight)
    if not weight_left.all():
        raise EvaluationError.undefined(
            f"{metric} interval", "one cluster holds every row of a label"
        )
    value = weighed.sum() / weights.sum()
    counted = np.where(weights[cells.group] > 0, wins.positives + wins.negatives, 0.0)
    return Estimate(
        value=float(value),
        influence=value - (weighed.sum() - lost) / weight_left,
        rows=sum_by_group(counted, cells.cluster, rows.cluster_count),
    )


def _leave_out(
    wins: CellWins, won: Floats, positives: Floats, negatives: Floats, group: Codes
) -> tuple[Floats, Floats, Floats]:
    """Return won pairs, positives and negatives of each cell's group without the cell."""
    touched = wins.of_positives + wins.of_negatives - wins.within
    return (
        won[group] - touched,
        subtract(positives[group], wins.positives),
        subtract(negatives[group], wins.negatives),
    )


def _weigh(
    won: Floats, positives: Floats, negatives: Floats, weight: GroupWeight
) -> tuple[Floats, Floats]:
    """Return AUC times weight, and weight, of groups; 0 where a label is missing."""
    pairs = positives * negatives
    weights = np.where(pairs > 0, weight(positives, negatives), 0.0)
    return weights * won / np.where(pairs > 0, pairs, 1.0), weights
