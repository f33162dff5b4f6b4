"""Recall of pairs: how often an item, or a search, finds what belongs to it.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3; `sail_method.md` 8.1, 8.2): Recall@50 and @100 of i2i
and q2i. The pool there is not told; here it is the whole catalogue, and an item isn't its
own candidate (chosen here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sail_features.training.evaluation.ranks import Floats, Ints, rank_targets, recall_at


@dataclass(frozen=True)
class ItemPairs:
    """Items that belong together: rows of queries and of their targets, shape (pairs,)."""

    query: Ints
    target: Ints


@dataclass(frozen=True)
class SearchPairs:
    """Vectors of search queries, shape (pairs, dim), and rows of the items that they seek."""

    query: Floats
    target: Ints


def compute_item_recall(vectors: Floats, pairs: ItemPairs, ks: Sequence[int]) -> dict[int, float]:
    """Return Recall@k of item to item.

    Examples
    --------
    >>> line = np.float32([[1, 0], [1, 0.1], [0, 1]])
    >>> compute_item_recall(line, ItemPairs(np.array([0, 2]), np.array([1, 0])), (1,))
    {1: 0.5}
    """
    ranks = rank_targets(vectors[pairs.query], pairs.target, vectors, pairs.query[:, None])
    return recall_at(ranks, ks)


def compute_search_recall(
    vectors: Floats, pairs: SearchPairs, ks: Sequence[int]
) -> dict[int, float]:
    """Return Recall@k of search query to item."""
    return recall_at(rank_targets(pairs.query, pairs.target, vectors), ks)


def chance(items: int, k: int) -> float:
    """Return the Recall@k of vectors that know nothing, in a catalogue of so many items.

    Examples
    --------
    >>> chance(101, 10)
    0.1
    """
    return float(np.minimum(1.0, k / (items - 1)))
