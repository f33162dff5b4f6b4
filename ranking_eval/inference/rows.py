"""The rows that are judged, and who their clusters are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ranking_eval.metrics.arrays import Codes, Flags, Floats


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """Test rows without scores; arrays of shape (rows,), codes from 0.

    Parameters
    ----------
    positive : where the label is 1.
    weights : 0 or more.
    clusters : what was sampled and is therefore random: the user as a rule, or the
        request, the session, the paper.
    users, requests : groups of grouped AUC, and lists of NDCG, MRR and hit rate.
    cluster_count : one more than the largest code of the whole; slices keep it.
    folds : which ranker scored each row, where there are several; AUC then pairs rows
        within a fold only, and grouped AUC within a fold and group.
    """

    positive: Flags
    weights: Floats
    clusters: Codes
    users: Codes
    requests: Codes
    cluster_count: int
    folds: Codes | None = None

    @classmethod
    def of(
        cls,
        positive: Flags,
        *,
        users: Codes,
        requests: Codes | None = None,
        clusters: Codes | None = None,
        weights: Floats | None = None,
        folds: Codes | None = None,
    ) -> Self:
        """Build rows of weight 1 that are clustered by user, unless told otherwise.

        Without ``requests`` every row is a request of its own.
        """
        own = users if clusters is None else clusters
        return cls(
            positive=positive,
            weights=np.ones(positive.size) if weights is None else weights,
            clusters=own,
            users=users,
            requests=np.arange(positive.size) if requests is None else requests,
            cluster_count=int(own.max()) + 1,
            folds=folds,
        )

    def take(self, rows: Flags) -> Self:
        """Return the rows of a slice, their clusters numbered as before."""
        return replace(
            self,
            positive=self.positive[rows],
            weights=self.weights[rows],
            clusters=self.clusters[rows],
            users=self.users[rows],
            requests=self.requests[rows],
            folds=None if self.folds is None else self.folds[rows],
        )

    def within_folds(self, groups: Codes) -> Codes:
        """Return codes of what is in one group and one fold."""
        if self.folds is None:
            return groups
        pairs = groups * (int(self.folds.max()) + 1) + self.folds
        return np.asarray(np.unique(pairs, return_inverse=True)[1])
