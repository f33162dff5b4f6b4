"""Grouped AUC (GAUC): AUC within each user, averaged by impressions.

Three numbers go by the name GAUC. This one weights a group by its impressions,
as Deep Interest Network does; others weight by positives or not at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import (
    Codes,
    Flags,
    Floats,
    check_scored,
    compute_codes,
    compute_ranks,
    sum_by_group,
)
from sail_features.errors import EvaluationError


class GroupedAuc(NamedTuple):
    """Impression-weighted grouped AUC, and how many groups it is made of."""

    value: float
    groups: int
    skipped: int
    """Groups left out because all their labels are the same."""


class GroupWins(NamedTuple):
    """Pairs in the right order (ties half), positives and negatives of each group."""

    wins: Floats
    positives: Codes
    negatives: Codes


def compute_grouped_auc(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike) -> GroupedAuc:
    """Compute the AUC within each group, averaged with impressions as weights.

    Parameters
    ----------
    labels : 0 or 1, one a row.
    scores : any real numbers; they need to be comparable within a group only.
    groups : user (or request) of each row. Small non-negative integers are fastest.

    Returns
    -------
    The value, the groups that entered it, and the groups left out because they
    hold one label only.

    Raises
    ------
    EvaluationError
        No group holds both labels.

    Notes
    -----
    Exact with ties. O(n log n): one sort of (group, rank of score, label)
    packed into 64 bits, in place of a loop over groups.

    References
    ----------
    Zhou et al., "Deep Interest Network for Click-Through Rate Prediction",
    KDD 2018, section 6.3.

    Examples
    --------
    >>> compute_grouped_auc([0, 1, 0, 1, 1], [0.1, 0.9, 0.8, 0.3, 0.5], [0, 0, 1, 1, 2])
    GroupedAuc(value=0.5, groups=2, skipped=1)
    """
    positive, values = check_scored("grouped_auc", labels, scores)
    codes = compute_codes(groups, positive.size)
    counted = count_group_wins(positive, values, codes)
    rows = counted.positives + counted.negatives
    mixed = (counted.positives > 0) & (counted.negatives > 0)
    if not mixed.any():
        raise EvaluationError.undefined("grouped_auc", "no group holds both labels")
    wins, positives, negatives = (part[mixed] for part in counted)
    value = np.average(wins / (positives * negatives), weights=rows[mixed])
    occurring = int((rows > 0).sum())
    return GroupedAuc(float(value), int(mixed.sum()), occurring - int(mixed.sum()))


def count_group_wins(positive: Flags, scores: Floats, groups: Codes) -> GroupWins:
    """Count the pairs in the right order within each group, for codes from 0.

    ``positive`` says which rows have label 1. The three arrays of the result
    have one entry a code, zeros for codes that don't occur.
    """
    ranks = compute_ranks(scores)
    width = int(ranks.max()) + 1
    packed = (groups * width + ranks) * 2 + positive
    packed.sort()
    is_positive, cells = packed & 1, packed >> 1
    starts = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
    positives = np.add.reduceat(is_positive, starts)
    negatives = np.diff(np.r_[starts, packed.size]) - positives

    group = cells[starts] // width
    size = int(groups.max()) + 1
    group_positives = sum_by_group(positives, group, size).astype(np.int64)
    group_negatives = sum_by_group(negatives, group, size).astype(np.int64)
    earlier = np.cumsum(group_negatives) - group_negatives
    below = np.cumsum(negatives) - negatives - earlier[group]
    wins = sum_by_group(positives * (below + 0.5 * negatives), group, size)
    return GroupWins(wins, group_positives, group_negatives)
