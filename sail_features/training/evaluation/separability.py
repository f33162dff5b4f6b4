"""Separability: how far the cosines of pairs and of strangers lie apart.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3; `sail_method.md` 8.3): the gap between the histograms of
cosines. Its measure is not told; here it is the share of the one histogram that the other
doesn't cover (chosen here).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from sail_features.training.evaluation.pair_recall import ItemPairs
from sail_features.training.evaluation.ranks import Floats

BINS: Final = 50


def compute_separability(vectors: Floats, pairs: ItemPairs, *, seed: int = 0) -> float:
    """Return 0 where pairs are as alike as strangers, 1 where no pair is like any stranger.

    Parameters
    ----------
    vectors : shape (items, dim), of length 1.

    Notes
    -----
    Strangers are the same queries with targets dealt out anew.
    """
    dealt = np.random.default_rng(seed).permutation(pairs.target)
    query = vectors[pairs.query]
    paired, strange = (
        np.histogram((query * vectors[target]).sum(axis=1), BINS, (-1.0, 1.0))[0] / len(query)
        for target in (pairs.target, dealt)
    )
    return float(1 - np.minimum(paired, strange).sum())
