"""Kendall's tau: whether the items around an item lie in the order of behaviour.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3, table 4; `sail_method.md` 8.3): (C - D) / (C + D) against
the collaborative ranking. Which items are ranked is not told; here each of some items, drawn
at random, ranks as many others (chosen here). The paper's figures, near 0.007, differ by
0.0004 between models: read this one with care.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.stats import kendalltau

from sail_features.training.evaluation.ranks import Floats

ANCHORS: Final = 200
RANKED: Final = 200


def compute_kendall(vectors: Floats, collaborative: Floats, *, seed: int = 0) -> float:
    """Return the mean tau of cosines to an item by both, over some items.

    Parameters
    ----------
    vectors, collaborative : shape (items, dim), of length 1; the same items.

    Examples
    --------
    >>> some = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    >>> round(compute_kendall(some, some), 6)
    1.0
    """
    rng = np.random.default_rng(seed)
    anchors = rng.permutation(len(vectors))[:ANCHORS]
    taus = []
    for anchor in anchors:
        others = rng.permutation(np.delete(np.arange(len(vectors)), anchor))[:RANKED]
        ours = vectors[others] @ vectors[anchor]
        theirs = collaborative[others] @ collaborative[anchor]
        taus.append(kendalltau(ours, theirs).statistic)
    return float(np.nanmean(taus))
