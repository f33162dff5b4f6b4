"""Each metric without each user in turn: exact, and in closed form.

Users, not rows, are what an experiment has many of: impressions of one user
share taste and session. The delete-one-user jackknife needs the metric without
every user; recomputing it costs users x rows, while these sums over users give
the same numbers for the price of a sort.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ranking_eval.metrics.arrays import (
    Codes,
    Flags,
    Floats,
    check_both_labels,
    check_scored,
    compute_ranks,
    sum_by_group,
)
from ranking_eval.metrics.grouped_auc import count_group_wins
from ranking_eval.metrics.log_loss import compute_row_losses
from sail_features.errors import EvaluationError


@dataclass(frozen=True, eq=False)
class WithoutUsers:
    """A metric's value, and its value without each user.

    ``without_user`` has shape (users,). ``user_rows`` holds the rows by which
    each user enters the metric: 0 for a user that the metric leaves out.
    """

    value: float
    without_user: Floats
    user_rows: Codes


def compute_auc_without_users(labels: ArrayLike, scores: ArrayLike, users: Codes) -> WithoutUsers:
    """Compute the AUC, and the AUC without each user.

    Parameters
    ----------
    labels : 0 or 1, one a row.
    scores : any real numbers.
    users : codes 0, 1, ... that all occur.

    Raises
    ------
    EvaluationError
        One label only, or one user holds every row of a label.

    Notes
    -----
    A user touches the pairs of its positives with all negatives and those of
    all positives with its negatives; the pairs within the user are in both.
    O(n log n).

    References
    ----------
    Obuchowski, "Nonparametric analysis of clustered ROC curve data",
    Biometrics 53, 1997, for the sums by cluster.
    """
    positive, values = check_scored("auc", labels, scores)
    check_both_labels("auc", positive)
    within = count_group_wins(positive, values, users)
    row_wins = _count_row_wins(positive, values)
    touched = sum_by_group(row_wins, users, within.wins.size) - within.wins
    total = row_wins[positive].sum()
    positives, negatives = within.positives.sum(), within.negatives.sum()
    pairs_left = (positives - within.positives) * (negatives - within.negatives)
    if not pairs_left.all():
        raise EvaluationError.undefined("auc interval", "one user holds every row of a label")
    return WithoutUsers(
        value=float(total / (positives * negatives)),
        without_user=(total - touched) / pairs_left,
        user_rows=within.positives + within.negatives,
    )


def compute_grouped_auc_without_users(
    labels: ArrayLike, scores: ArrayLike, users: Codes
) -> WithoutUsers:
    """Compute the grouped AUC by user, and the same without each user.

    Raises
    ------
    EvaluationError
        Fewer than two users have both labels.
    """
    positive, values = check_scored("grouped_auc", labels, scores)
    wins, positives, negatives = count_group_wins(positive, values, users)
    pairs = positives * negatives
    rows = np.where(pairs > 0, positives + negatives, 0)
    return _ratio_without_users("grouped_auc", rows * wins / np.maximum(pairs, 1), rows)


def compute_log_loss_without_users(
    labels: ArrayLike, scores: ArrayLike, users: Codes
) -> WithoutUsers:
    """Compute the log loss of probabilities, and the same without each user.

    Raises
    ------
    EvaluationError
        There is one user only, or a probability lies outside 0 to 1.
    """
    positive, values = check_scored("log_loss", labels, scores)
    rows = np.bincount(users)
    losses = sum_by_group(compute_row_losses(positive, values), users, rows.size)
    return _ratio_without_users("log_loss", losses, rows)


METRICS: Final[Mapping[str, Callable[[ArrayLike, ArrayLike, Codes], WithoutUsers]]] = (
    MappingProxyType(
        {
            "auc": compute_auc_without_users,
            "grouped_auc": compute_grouped_auc_without_users,
            "log_loss": compute_log_loss_without_users,
        }
    )
)
"""The metrics of every evaluation, in the order of the report."""


def _count_row_wins(positive: Flags, scores: Floats) -> Floats:
    """Count, for each row, the rows of the other label that it is ordered rightly with."""
    ranks = compute_ranks(scores)
    size = int(ranks.max()) + 1
    positives = np.bincount(ranks[positive], minlength=size)
    negatives = np.bincount(ranks[~positive], minlength=size)
    negatives_below = np.cumsum(negatives) - negatives
    positives_above = positives.sum() - np.cumsum(positives)
    of_positive = negatives_below + 0.5 * negatives
    of_negative = positives_above + 0.5 * positives
    return np.where(positive, of_positive[ranks], of_negative[ranks])


def _ratio_without_users(metric: str, sums: Floats, rows: Codes) -> WithoutUsers:
    """Return a ratio of sums over users, and the same ratio without each user."""
    rows_left = rows.sum() - rows
    if not rows_left.all():
        raise EvaluationError.undefined(f"{metric} interval", "one user holds every row it counts")
    return WithoutUsers(
        value=float(sums.sum() / rows.sum()),
        without_user=(sums.sum() - sums) / rows_left,
        user_rows=rows,
    )
