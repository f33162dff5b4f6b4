"""Clusters of items that the same users take."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sail_features.encoders.omni.inputs import ItemInputs
from sail_features.training.collaborative_ids import IdSettings, train_ids
from sail_features.training.engagements import Engagements

CLUSTERS: Final = 50


def cluster_by_behaviour(
    engagements: Engagements, inputs: ItemInputs, *, count: int = CLUSTERS, seed: int = 0
) -> NDArray[np.int64]:
    """Return the k-means cluster of each item's collaborative ID, -1 where it has none.

    Parameters
    ----------
    count : of clusters; of fewer items each is one.

    Returns
    -------
    Shape (items,).
    """
    from sklearn.cluster import KMeans

    table = train_ids(engagements, IdSettings(seed=seed))
    kmeans = KMeans(min(count, len(table)), n_init=1, random_state=seed)
    found = kmeans.fit_predict(table.take(np.arange(len(table))))
    clusters = np.full(len(inputs), -1, np.int64)
    clusters[inputs.rows_of(table.ids)] = found
    return clusters
