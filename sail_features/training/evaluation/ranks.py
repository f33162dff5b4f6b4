"""At which place each query finds its target: what all recall is counted from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK: Final = 1_024
"""Queries held against the pool at a time: 40 MB for 10,000 items."""
NOBODY: Final = -1
"""Fills a row of ``excluded`` that names fewer items than others."""


def rank_targets(
    queries: Floats, targets: Ints, pool: Floats, excluded: Ints | None = None
) -> Ints:
    """Return how many items of the pool lie before each query's target, shape (queries,).

    Parameters
    ----------
    queries : shape (queries, dim), of any length.
    targets : shape (queries,), rows of ``pool``.
    pool : shape (items, dim), of any length.
    excluded : shape (queries, n), rows of the pool that are no candidates, such as the
        query itself; `NOBODY` is none. A target is never excluded.

    Notes
    -----
    Similarity is the cosine. An item as similar as the target lies before it, so that
    vectors that are all alike find nothing.

    Examples
    --------
    >>> rank_targets(np.float32([[1, 0]]), np.array([1]), np.float32([[1, 0], [1, 1], [0, 1]]))
    array([1])
    """
    queries, pool = _unit(queries), _unit(pool)
    ranks = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), BLOCK):
        rows = slice(start, start + BLOCK)
        similarity = queries[rows] @ pool.T
        own = np.arange(len(similarity)), targets[rows]
        least = similarity[own]
        if excluded is not None:
            row, place = np.nonzero(excluded[rows] != NOBODY)
            similarity[row, excluded[rows][row, place]] = -np.inf
        similarity[own] = -np.inf
        ranks[rows] = (similarity >= least[:, None]).sum(axis=1)
    return ranks


def recall_at(ranks: Ints, ks: Sequence[int]) -> dict[int, float]:
    """Return the share of targets among the first k, for each k.

    Examples
    --------
    >>> recall_at(np.array([0, 3, 30, 40]), (1, 10))
    {1: 0.25, 10: 0.5}
    """
    return {k: float((ranks < k).mean()) for k in ks}


def nearest(queries: Floats, pool: Floats, k: int, *, skip_own: bool = False) -> Ints:
    """Return the rows of the k most similar items of the pool, the most similar first.

    Parameters
    ----------
    skip_own : query and pool are the same items, and none is its own neighbour.
    """
    queries, pool = _unit(queries), _unit(pool)
    found = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), BLOCK):
        similarity = queries[start : start + BLOCK] @ pool.T
        if skip_own:
            rows = np.arange(len(similarity))
            similarity[rows, start + rows] = -np.inf
        best = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1, kind="stable")
        found[start : start + BLOCK] = np.take_along_axis(best, order, axis=1)
    return found


def _unit(vectors: Floats) -> Floats:
    """Return vectors of length 1; zeros stay what they are and are like nothing."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    return scaled
