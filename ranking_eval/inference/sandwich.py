"""The sandwich variance of an AUC difference: by cluster, by row, by user and item.

References beside the jackknife: with few or unequal clusters the sandwich is too
narrow, and by row it ignores that a user's rows belong together.
"""

from __future__ import annotations

import numpy as np

from ranking_eval.inference.rows import JudgedRows
from ranking_eval.metrics.arrays import Codes, Flags, Floats
from ranking_eval.metrics.score_order import ScoreOrder, order_scores
from ranking_eval.metrics.wins import count_wins


def compute_auc_influence(
    order: ScoreOrder, positive: Flags, weights: Floats, clusters: Codes
) -> Floats:
    """Return the influence function of the AUC, summed by cluster; it sums to 0.

    Parameters
    ----------
    order : of the rows' scores, from `order_scores`.
    positive, weights : one a row.
    clusters : codes from 0; of each row its own, for the influence by row.

    Notes
    -----
    O(rows).

    References
    ----------
    Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53, 1997.
    """
    group = np.zeros(int(clusters.max()) + 1, np.int64)
    wins = count_wins(order, positive, weights, clusters, group)
    positives, negatives = wins.positives.sum(), wins.negatives.sum()
    auc = wins.of_positives.sum() / (positives * negatives)
    of_positives = wins.of_positives / negatives - wins.positives * auc
    of_negatives = wins.of_negatives / positives - wins.negatives * auc
    return np.asarray(of_positives / positives + of_negatives / negatives)


def compute_sandwich_variance(influence: Floats) -> float:
    """Return the variance of an estimate from its influence function by cluster."""
    clusters = influence.size
    return float(clusters / (clusters - 1) * (influence**2).sum())


def compute_difference_influence(
    rows: JudgedRows, treatment: Floats, control: Floats, clusters: Codes
) -> Floats:
    """Return the influence function of the difference of two arms' mean AUC, by cluster.

    ``treatment`` and ``control`` are scores, shape (seeds, rows).
    """

    def average(scores: Floats) -> Floats:
        influences = [
            compute_auc_influence(order_scores(of_seed), rows.positive, rows.weights, clusters)
            for of_seed in scores
        ]
        return np.asarray(np.mean(influences, axis=0))

    return average(treatment) - average(control)


def compute_two_way_variance(
    rows: JudgedRows, treatment: Floats, control: Floats, items: Codes
) -> float:
    """Return the variance of an AUC difference where clusters and items are both random.

    Parameters
    ----------
    rows : with the clusters, as a rule users.
    treatment, control : scores, shape (seeds, rows).
    items : codes from 0, all occurring.

    Notes
    -----
    By cluster, plus by item, less by the two together. Never below the larger of the
    first two, which the difference can be by chance.

    References
    ----------
    Cameron, Gelbach and Miller, "Robust inference with multiway clustering",
    Journal of Business & Economic Statistics 29, 2011.
    """
    both = np.unique(rows.clusters * (int(items.max()) + 1) + items, return_inverse=True)[1]
    by_cluster, by_item, by_both = (
        compute_sandwich_variance(compute_difference_influence(rows, treatment, control, codes))
        for codes in (rows.clusters, items, both)
    )
    return max(by_cluster + by_item - by_both, by_cluster, by_item)
