"""Recall of the next item: whether the mean of ten past items finds what came next.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3, table 5; `sail_method.md` 8.4): the newest item is the
target; *vanilla* draws ten of the last 100 others at random, *filtered* takes ten of the
last 1,000 that match the target by content tag or collaborative cluster. Filtered uses the
target to choose the query, so its figures are higher and are no forecast of a recommender.
Recall@1, 10 and 25. Chosen here: the pool is the catalogue without the query's items;
targets are engagements within the time asked, new to the user, and queries lie strictly
before them; a query with fewer than three items is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
from scipy.sparse import csr_array

from sail_features.history import to_us
from sail_features.training.engagements import Engagements
from sail_features.training.evaluation.ranks import Floats, Ints, rank_targets, recall_at
from sail_features.training.sequences import ABSENT, LENGTH, Past, Sequences, build_sequences

KS: Final = (1, 10, 25)
VANILLA_HISTORY: Final = 100
"""Newest items that the vanilla protocol draws from (paper)."""


def vanilla_sequences(
    engagements: Engagements, since: datetime, *, targets_per_user: int = 1, seed: int = 0
) -> Sequences:
    """Return each user's newest target at or after ``since``, and ten random items before it.

    Parameters
    ----------
    engagements : until the end of the test; what is before ``since`` is only ever a query.
    targets_per_user : more than the newest, for less noise where users are few.
    """

    def select(past: Past, rng: np.random.Generator) -> Ints:
        last = np.arange(len(past.item))[-VANILLA_HISTORY:]
        drawn: Ints = np.sort(rng.permutation(last)[:LENGTH])
        return drawn

    return build_sequences(
        engagements,
        select,
        seed=seed,
        targets_per_user=targets_per_user,
        since_us=to_us(since),
    )


def filtered_sequences(
    engagements: Engagements,
    since: datetime,
    clusters: Ints,
    labels: csr_array | None = None,
) -> Sequences:
    """Return the same targets with the newest ten items that are like them.

    Parameters
    ----------
    clusters : shape (items,), collaborative cluster of each item, -1 where it has none.
    labels : shape (items, labels), content tags; sharing one, or the cluster, is enough.
    """

    def select(past: Past, _: np.random.Generator) -> Ints:
        alike = (clusters[past.item] == clusters[past.target]) & (clusters[past.target] >= 0)
        if labels is not None:
            alike |= labels[past.item] @ labels[[past.target]].toarray().ravel() > 0
        return np.flatnonzero(alike)[-LENGTH:]

    return build_sequences(engagements, select, seed=0, targets_per_user=1, since_us=to_us(since))


def compute_sequence_recall(
    vectors: Floats, sequences: Sequences, ks: Sequence[int] = KS
) -> dict[int, float]:
    """Return the share of sequences whose target is among the k items nearest to their mean.

    Parameters
    ----------
    vectors : shape (items, dim), of length 1.

    Examples
    --------
    >>> ten = np.full((1, LENGTH), ABSENT)
    >>> ten[0, :3] = 0, 0, 1
    >>> line = np.float32([[1, 0], [0, 1], [0.8, 0.6], [-1, 0]])
    >>> compute_sequence_recall(line, Sequences(ten, np.array([2]), np.array([0])), (1,))
    {1: 1.0}
    """
    query = mean_of_present(vectors, sequences.query)
    ranks = rank_targets(query, sequences.target, vectors, sequences.query)
    return recall_at(ranks, ks)


def mean_of_present(vectors: Floats, query: Ints) -> Floats:
    """Return the mean vector of each query's items, shape (rows, dim)."""
    present = (query != ABSENT)[..., None]
    summed = (vectors[np.maximum(query, 0)] * present).sum(axis=1)
    mean: Floats = (summed / present.sum(axis=1)).astype(np.float32)
    return mean
