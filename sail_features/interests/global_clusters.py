"""One clustering of the whole catalogue, at two levels, that all users' interests share.

A user's own clusters can't be compared with another's; these can. Items get a secondary
cluster, the nearest of many centroids, and that cluster's primary one, of a few. The
centroids are an artefact fitted once: they have a version, and rows made with them name it.
So is the long tail, the secondary clusters that few events fall into.

References
----------
Trinity (Yan et al., KDD 2024, arXiv 2402.02842; `sail_method.md` B7): 128 primary and
1,024 secondary clusters. There both are learned by vector quantisation inside a retrieval
model; k-means on finished vectors, secondary clusters grouped into primary ones: chosen
here, so that a secondary cluster has exactly one parent. Trinity measures rarity by the
running interval between a cluster's events; a share of all events is chosen here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans

from sail_features.config import ClusterConfig
from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.errors import InputError


@dataclass(frozen=True)
class GlobalClusters:
    """Centroids of the catalogue.

    Parameters
    ----------
    centroids : shape (secondary, dim), of unit length.
    parent : shape (secondary,), the primary cluster of each secondary one.
    tail : shape (secondary,), which secondary clusters are rare.
    encoder_id : of the vectors that they were fitted on, and that they may be compared with.
    trained_until_us : items known, and events, before this time were seen.
    """

    centroids: NDArray[np.float32]
    parent: NDArray[np.int32]
    tail: NDArray[np.bool_]
    encoder_id: str
    trained_until_us: int

    @cached_property
    def version(self) -> str:
        """A short hash of everything that shapes an item's codes and what is rare."""
        digest = hashlib.sha256(f"{self.encoder_id} {self.trained_until_us}".encode())
        digest.update(self.centroids.tobytes() + self.parent.tobytes() + self.tail.tobytes())
        return digest.hexdigest()[:12]

    def assign(self, vectors: EmbeddingTable, block: int = 16_384) -> NDArray[np.int32]:
        """Return the secondary cluster of each item, shape (items,); ``parent`` has its primary.

        Raises
        ------
        InputError
            Vectors of another encoder.
        """
        if vectors.encoder_id != self.encoder_id:
            raise InputError.say(
                f"global clusters {self.version}",
                f"fitted on vectors of {self.encoder_id!r}, got those of {vectors.encoder_id!r}",
                hint="fit clusters on the vectors of this encoder",
            )
        return _nearest(vectors, self.centroids, block)

    def save(self, path: Path) -> None:
        """Write everything into one ``.npz`` file."""
        np.savez(
            path,
            centroids=self.centroids,
            parent=self.parent,
            tail=self.tail,
            encoder_id=np.array(self.encoder_id),
            trained_until_us=np.array(self.trained_until_us),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            return cls(
                kept["centroids"],
                kept["parent"],
                kept["tail"],
                str(kept["encoder_id"]),
                int(kept["trained_until_us"]),
            )


def fit_global_clusters(
    vectors: EmbeddingTable,
    likes: NDArray[np.int64],
    config: ClusterConfig,
    *,
    trained_until_us: int,
) -> GlobalClusters:
    """Cluster the items that were known before a time.

    Parameters
    ----------
    vectors : of the items; those available at ``trained_until_us`` or later aren't seen.
    likes : shape (items,), how many events before that time each item has, for the tail.

    Notes
    -----
    Mini-batches, so the cost grows linearly: O(items secondary dim). The same seed gives
    the same clusters.

    Raises
    ------
    InputError
        Fewer known items than secondary clusters, or none of them liked.
    """
    known = np.flatnonzero(vectors.available_at_us < trained_until_us)
    check_enough_items(len(known), config)
    if not likes[known].any():
        raise InputError.say(
            "global clusters",
            "nobody liked an item before they are fitted: nothing tells what is rare",
            hint="fit until a later time",
        )
    points, seed = vectors.take(known), config.seed
    fine = MiniBatchKMeans(config.secondary, batch_size=8_192, n_init=1, random_state=seed)
    # A mean of opposite vectors has no direction; as zeros it is near to none.
    centroids = np.nan_to_num(normalise(fine.fit(points).cluster_centers_), copy=False)
    members = np.bincount(fine.labels_, minlength=config.secondary)
    coarse = KMeans(config.primary, n_init=1, random_state=seed)
    parent = coarse.fit(centroids, sample_weight=members + 1).labels_.astype(np.int32)
    nearest = _nearest(vectors, centroids)[known]
    popularity = np.bincount(nearest, likes[known], minlength=config.secondary).astype(np.int64)
    tail = find_tail(popularity, config.tail_share)
    return GlobalClusters(centroids, parent, tail, vectors.encoder_id, trained_until_us)


def check_enough_items(known: int, config: ClusterConfig) -> None:
    """Raise `InputError` where there are fewer known items than secondary clusters."""
    if known < config.secondary:
        raise InputError.say(
            "global clusters",
            f"{config.secondary} secondary clusters of {known} items that were known in time",
            hint="lower interests.clusters.secondary (and primary), or fit until a later time",
        )


def find_tail(popularity: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Tell which clusters are rare: the least popular that hold ``share`` of all events.

    Parameters
    ----------
    popularity : shape (clusters,), events in each.
    share : of all events, at most which the tail holds together.

    Examples
    --------
    >>> find_tail(np.array([1, 3, 1, 0]), share=0.4)
    array([ True, False,  True,  True])
    """
    order = np.argsort(popularity, kind="stable")
    tail = np.empty(len(popularity), bool)
    tail[order] = np.cumsum(popularity[order]) <= share * popularity.sum()
    return tail


def _nearest(
    vectors: EmbeddingTable, centroids: NDArray[np.float32], block: int = 16_384
) -> NDArray[np.int32]:
    """Return the centroid of greatest cosine of each item."""
    code = np.empty(len(vectors), np.int32)
    for start in range(0, len(vectors), block):
        rows = np.arange(start, min(start + block, len(vectors)))
        code[rows] = (vectors.take(rows) @ centroids.T).argmax(axis=1)
    return code
