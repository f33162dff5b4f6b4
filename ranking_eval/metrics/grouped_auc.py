"""Grouped AUC (GAUC): AUC within each group, averaged.

Three numbers go by the name GAUC, and papers rarely say which. They differ in what
a group weighs: its impressions (``gauc_impr``, Deep Interest Network), its positives
(``gauc_pos``, RecBole) or nothing (``gauc_mean``, TorchEasyRec).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import check_scored, check_weights, compute_codes
from ranking_eval.metrics.group_wins import count_group_wins
from sail_features.errors import EvaluationError

OneClassPolicy = Literal["skip", "half", "raise"]
"""What to do with a group whose labels are all the same, and AUC is not defined:
leave it out, take it as one half, or refuse."""


class GroupedAuc(NamedTuple):
    """Grouped AUC under its three names, and how many groups it is made of."""

    gauc_impr: float
    """Weighted by impressions."""
    gauc_pos: float
    """Weighted by positives."""
    gauc_mean: float
    """Every group counts the same."""
    groups: int
    """Groups that entered."""
    one_class: int
    """Groups whose labels are all the same, and the policy was applied to."""


def compute_grouped_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    one_class: OneClassPolicy = "skip",
) -> GroupedAuc:
    """Compute the AUC within each group, and its three averages.

    Parameters
    ----------
    labels : 0 or 1, one a row.
    scores : any real numbers; they need to be comparable within a group only.
    groups : user (or request) of each row. Small non-negative integers are fastest.
    weights : 0 or more, one a row; rows of weight 0 count as absent. None for all 1.
    one_class : what to do with groups of one label.

    Raises
    ------
    EvaluationError
        No group holds both labels, or one doesn't and the policy is to refuse it.

    Notes
    -----
    Exact with ties. O(n log n) at most: a counting sort by group, and pairs counted in each.

    References
    ----------
    Zhou et al., "Deep Interest Network for Click-Through Rate Prediction",
    KDD 2018, section 6.3.

    Examples
    --------
    >>> found = compute_grouped_auc([0, 1, 0, 1, 1], [0.1, 0.9, 0.8, 0.3, 0.5], [0, 0, 1, 1, 2])
    >>> found.gauc_impr, found.groups, found.one_class
    (0.5, 2, 1)
    """
    positive, values = check_scored("grouped_auc", labels, scores)
    row_weights = check_weights("grouped_auc", weights, positive.size)
    codes = compute_codes(groups, positive.size)
    wins, positives, negatives = count_group_wins(positive, values, row_weights, codes)
    occurring, pairs = positives + negatives > 0, positives * negatives
    mixed = pairs > 0
    if not mixed.any():
        raise EvaluationError.undefined("grouped_auc", "no group holds both labels")
    alone = int(occurring.sum() - mixed.sum())
    if one_class == "raise" and alone:
        raise EvaluationError.undefined("grouped_auc", f"{alone} groups hold one label only")
    counted = occurring if one_class == "half" else mixed
    aucs = np.divide(wins, pairs, out=np.full(wins.shape, 0.5), where=mixed)[counted]
    return GroupedAuc(
        gauc_impr=float(np.average(aucs, weights=(positives + negatives)[counted])),
        gauc_pos=float(np.average(aucs, weights=positives[counted])),
        gauc_mean=float(aucs.mean()),
        groups=aucs.size,
        one_class=alone,
    )
