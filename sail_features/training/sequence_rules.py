"""Which ten items of a user's past stand for it: four rules, each a way to look at interest.

================ ============================ =======================================
rule             an item of the past stays if then ten are taken
================ ============================ =======================================
content single   >= 3 positive behaviours     most similar to the target by content
content multi    >= 1                         at random among those whose labels agree
                                              with the target's (Jaccard >= 0.5)
collab. single   >= 3                         agreeing in behaviour with the target, in
                                              proportion to the past's clusters
collab. multi    >= 1                         in proportion to the past's clusters
================ ============================ =======================================

References
----------
SAIL-Embedding (arXiv 2510.12709 v3; `sail_method.md` 5.1): the four rules and the figures 3,
1 and 0.5 are the paper's. Chosen here, since the paper is silent: similarity is the cosine
to the target; the content rule's sets are the items' labels (tags, or whatever the caller
says), the collaborative rule's are the types of behaviour that the user showed; clusters
are k-means of collaborative IDs; places go to clusters by largest remainder, within a
cluster to the newest items (single) or at random (multi). A log with one event a user and
item needs ``behaviours=1`` for the single-peak rules, as no item would reach 3.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sail_features.training.sequences import LENGTH, Past, Select

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

COMPACT: Final = 3
"""Positive behaviours on an item that make it part of a compact interest (paper)."""
AGREEMENT: Final = 0.5
"""The least Jaccard coefficient (paper)."""


def select_by_content(vectors: Floats, *, behaviours: int = COMPACT) -> Select:
    """Return the content, single-peak rule.

    Parameters
    ----------
    vectors : shape (items, dim), unit content vectors by item row.
    """

    def select(past: Past, _: np.random.Generator) -> Ints:
        kept = np.flatnonzero(past.behaviours >= behaviours)
        similarity = vectors[past.item[kept]] @ vectors[past.target]
        nearest: Ints = kept[np.argsort(-similarity, kind="stable")[:LENGTH]]
        return np.sort(nearest)

    return select


def select_by_labels(labels: csr_array) -> Select:
    """Return the content, multi-peak rule.

    Parameters
    ----------
    labels : shape (items, labels), 1 where an item carries a label.
    """
    size = np.asarray(labels.sum(axis=1)).ravel()

    def select(past: Past, rng: np.random.Generator) -> Ints:
        common = labels[past.item] @ labels[[past.target]].toarray().ravel()
        united = size[past.item] + size[past.target] - common
        agreeing = np.flatnonzero(common >= AGREEMENT * np.maximum(united, 1))
        return _draw(agreeing, LENGTH, rng)

    return select


def select_consistent(clusters: Ints, *, behaviours: int = COMPACT) -> Select:
    """Return the collaborative, single-peak rule.

    Parameters
    ----------
    clusters : shape (items,), the cluster of each item, -1 where it has none.
    """

    def select(past: Past, _: np.random.Generator) -> Ints:
        kept = np.flatnonzero(past.behaviours >= behaviours)
        agreeing = kept[jaccard_of_bits(past.kinds[kept], past.target_kinds) >= AGREEMENT]
        share = share_places(clusters[past.item], clusters[past.item[agreeing]])
        newest = [
            agreeing[clusters[past.item[agreeing]] == cluster][-places:]
            for cluster, places in share.items()
            if places
        ]
        return np.sort(np.concatenate(newest)) if newest else agreeing[:0]

    return select


def select_spread(clusters: Ints) -> Select:
    """Return the collaborative, multi-peak rule.

    Parameters
    ----------
    clusters : as in `select_consistent`.
    """

    def select(past: Past, rng: np.random.Generator) -> Ints:
        own = clusters[past.item]
        drawn = [
            _draw(np.flatnonzero(own == cluster), places, rng)
            for cluster, places in share_places(own, own).items()
            if places
        ]
        return np.sort(np.concatenate(drawn))

    return select


def share_places(wanted: Ints, there: Ints, places: int = LENGTH) -> dict[int, int]:
    """Share places among clusters as they are among ``wanted``, none beyond those ``there``.

    Parameters
    ----------
    wanted, there : the cluster of each item of the past, and of each that may be taken.

    Examples
    --------
    >>> share_places(np.array([0] * 6 + [1] * 3), np.array([0] * 6 + [1] * 3), places=3)
    {0: 2, 1: 1}
    """
    clusters, limit = np.unique(there, return_counts=True)
    if not len(clusters):
        return {}
    ideal = (wanted[:, None] == clusters).sum(axis=0) / len(wanted) * places
    given = np.minimum(np.floor(ideal).astype(np.int64), limit)
    while given.sum() < min(places, limit.sum()):
        lacking = np.where(given < limit, ideal - given, -np.inf)
        given[int(lacking.argmax())] += 1
    return dict(zip(clusters.tolist(), given.tolist(), strict=True))


def jaccard_of_bits(sets: Ints, other: int) -> NDArray[np.float64]:
    """Return the Jaccard coefficient of each set with ``other``; sets are bits of an integer.

    Examples
    --------
    >>> jaccard_of_bits(np.array([0b11, 0b01, 0b100]), 0b11).tolist()
    [1.0, 0.5, 0.0]
    """
    union = np.maximum(np.bitwise_count(sets | other), 1)
    ratio: NDArray[np.float64] = np.bitwise_count(sets & other) / union
    return ratio


def _draw(places: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Return at most ``count`` of the places, at random, in their own order."""
    drawn: Ints = np.sort(rng.permutation(places)[:count])
    return drawn
