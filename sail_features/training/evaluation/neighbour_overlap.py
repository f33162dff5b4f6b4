"""How many of an item's nearest items by content are also its nearest by behaviour.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3, table 4, "Inter."; `sail_method.md` 8.3): top-k overlap
with the collaborative ranking. A k of 20 is chosen here.
"""

from __future__ import annotations

from typing import Final

from sail_features.training.evaluation.ranks import Floats, nearest

K: Final = 20


def compute_neighbour_overlap(vectors: Floats, collaborative: Floats, k: int = K) -> float:
    """Return the mean share of the k nearest items that both have in common.

    Parameters
    ----------
    vectors, collaborative : shape (items, dim); the same items, more than k of them.

    Examples
    --------
    >>> import numpy as np
    >>> some = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    >>> compute_neighbour_overlap(some, some, k=3)
    1.0
    """
    ours = nearest(vectors, vectors, k, skip_own=True)
    theirs = nearest(collaborative, collaborative, k, skip_own=True)
    common = (ours[:, :, None] == theirs[:, None, :]).any(axis=2)
    return float(common.mean())
