"""Co-engagement factorised: items whose users meet the same other items get like vectors.

The matrix of positive pointwise mutual information says how much more often two items
share users than chance would have it; its leading eigenvectors, scaled by the root of their
eigenvalues, are the vectors.

References
----------
Levy and Goldberg, "Neural word embedding as implicit matrix factorization" (NeurIPS 2014),
sections 3 and 5: items for words, a user's engagements for a window. A user counts with the
weight 1 / log(2 + items), so that those who engage with all tell least: chosen here, after
Adamic and Adar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from sail_features.training.collaborative_als import count_engagements
from sail_features.training.engagements import Engagements


def factorise_ppmi(engagements: Engagements, dim: int, seed: int) -> NDArray[np.float32]:
    """Return one vector an item, shape (items, dim); zeros for items that met no other.

    Notes
    -----
    Memory: one number a pair of items that share a user.
    """
    met = count_engagements(engagements)
    met.data[:] = 1.0
    weight = 1 / np.log(2 + met.sum(axis=1))
    shared = csr_array(met.T @ diags_array(weight) @ met)
    shared.setdiag(0)
    shared.eliminate_zeros()
    information = _ppmi(shared)
    start = np.random.default_rng(seed).normal(size=engagements.items)
    with threadpool_limits(1, "blas"):  # else the last bits depend on the machine's cores
        values, vectors = eigsh(information, k=dim, which="LA", v0=start)
    scaled: NDArray[np.float32] = (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)
    return scaled


def _ppmi(shared: csr_array) -> csr_array:
    """Return the positive pointwise mutual information of counts of pairs."""
    total = shared.sum()
    share = np.asarray(shared.sum(axis=0)).ravel() / total
    found = shared.tocoo()
    one, other = found.coords
    information = np.log(found.data / total / (share[one] * share[other]))
    return csr_array((np.maximum(information, 0), (one, other)), shape=shared.shape)
