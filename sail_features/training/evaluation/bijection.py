"""Bijective accuracy: a query's nearest target must find that query again.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3, table 4, "Acc."; `sail_method.md` 8.3): the share of
queries whose nearest target's nearest query is the query itself. Queries that occur twice
are counted once (chosen here).
"""

from __future__ import annotations

import numpy as np

from sail_features.training.evaluation.pair_recall import ItemPairs
from sail_features.training.evaluation.ranks import Floats, nearest


def compute_bijection(vectors: Floats, pairs: ItemPairs) -> float:
    """Return the share of distinct queries that come back.

    Examples
    --------
    >>> line = np.float32([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    >>> compute_bijection(line, ItemPairs(np.array([0, 2]), np.array([1, 3])))
    1.0
    """
    queries, targets = np.unique(pairs.query), np.unique(pairs.target)
    there = nearest(vectors[queries], vectors[targets], 1)[:, 0]
    back = nearest(vectors[targets], vectors[queries], 1)[:, 0]
    return float((back[there] == np.arange(len(queries))).mean())
