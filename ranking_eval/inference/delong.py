"""DeLong's variance of an AUC difference: every row taken as independent.

A reference only. Where users have several impressions it is too small, by a factor
that grows with what their rows share: a test at 5 % can be wrong half of the time.
"""

from __future__ import annotations

import numpy as np

from ranking_eval.metrics.arrays import Flags, Floats
from ranking_eval.metrics.score_order import order_scores
from ranking_eval.metrics.wins import count_wins


def compute_delong_variance(positive: Flags, treatment: Floats, control: Floats) -> float:
    """Return the variance of the difference of two arms' mean AUC on the same rows.

    Parameters
    ----------
    positive : where the label is 1, at least twice, and at least twice not.
    treatment, control : scores, shape (seeds, rows); what a row wins is averaged over
        seeds.

    Notes
    -----
    O(n log n).

    References
    ----------
    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more
    correlated receiver operating characteristic curves", Biometrics 44, 1988. Sun
    and Xu, "Fast implementation of DeLong's algorithm", IEEE SPL 21, 2014.
    """
    difference = _place(positive, treatment) - _place(positive, control)
    parts = difference[positive], difference[~positive]
    return float(sum(part.var(ddof=1) / part.size for part in parts))


def _place(positive: Flags, scores: Floats) -> Floats:
    """Return the share of rows of the other label that each row wins against."""
    rows, weights = np.arange(positive.size), np.ones(positive.size)
    others = np.where(positive, (~positive).sum(), positive.sum())
    won = np.zeros(positive.size)
    for of_seed in scores:
        wins = count_wins(order_scores(of_seed), positive, weights, rows, np.zeros_like(rows))
        won += np.where(positive, wins.of_positives, wins.of_negatives)
    return np.asarray(won / others / len(scores))
