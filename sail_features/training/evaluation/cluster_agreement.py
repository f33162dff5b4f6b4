"""NMI: whether items that belong together fall into the same cluster.

References
----------
SAIL-Embedding (arXiv 2510.12709 v3, table 4; `sail_method.md` 8.3): normalised mutual
information between the cluster labels of queries and targets, 2 I / (H + H). Clusters are
k-means of all items' vectors, as many as the root of their number: chosen here.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import normalized_mutual_info_score

from sail_features.training.evaluation.pair_recall import ItemPairs
from sail_features.training.evaluation.ranks import Floats, Ints


def compute_cluster_agreement(vectors: Floats, pairs: ItemPairs, *, seed: int = 0) -> float:
    """Return the NMI of queries' and targets' clusters: 0 by chance, 1 where always the same.

    Parameters
    ----------
    vectors : shape (items, dim), of length 1.
    """
    label = cluster_items(vectors, round(np.sqrt(len(vectors))), seed=seed)
    return float(normalized_mutual_info_score(label[pairs.query], label[pairs.target]))


def cluster_items(vectors: Floats, clusters: int, *, seed: int = 0) -> Ints:
    """Return the k-means cluster of each item, shape (items,)."""
    kmeans = MiniBatchKMeans(clusters, random_state=seed, n_init=3, batch_size=4_096)
    labels: Ints = kmeans.fit_predict(vectors).astype(np.int64)
    return labels
