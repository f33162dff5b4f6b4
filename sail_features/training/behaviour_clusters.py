"""Clusters of items that the same users take."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sail_features.embeddings import EmbeddingTable
from sail_features.encoders.omni.inputs import ItemInputs

CLUSTERS: Final = 50


def cluster_by_behaviour(
    ids: EmbeddingTable, inputs: ItemInputs, *, count: int = CLUSTERS, seed: int = 0
) -> NDArray[np.int64]:
    """Return the k-means cluster of each item by its collaborative ID, -1 where it has none.

    Parameters
    ----------
    ids : from `collaborative_ids.train_ids`.
    count : of clusters; of fewer items each is one.

    Returns
    -------
    Shape (items,).
    """
    from sklearn.cluster import KMeans

    kmeans = KMeans(min(count, len(ids)), n_init=1, random_state=seed)
    found = kmeans.fit_predict(ids.take(np.arange(len(ids))))
    clusters = np.full(len(inputs), -1, np.int64)
    clusters[inputs.rows_of(ids.ids)] = found
    return clusters
