"""One clustering of the whole catalogue, at two levels, that all users' interests share.

A user's own clusters can't be compared with another's; these can. Items get a secondary
cluster, the nearest of many centroids, and that cluster's primary one, of a few. The
centroids are an artefact fitted once: they have a version, and rows made with them name it.

References
----------
Trinity (Yan et al., KDD 2024, arXiv 2402.02842; `sail_method.md` B7): 128 primary and
1,024 secondary clusters. There both are learned by vector quantisation inside a retrieval
model; k-means on finished vectors, secondary clusters grouped into primary ones: chosen
here, so that a secondary cluster has exactly one parent.
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

from sail_features.embeddings import EmbeddingTable, normalise
from sail_features.errors import InputError


@dataclass(frozen=True)
class GlobalClusters:
    """Centroids of the catalogue.

    Parameters
    ----------
    centroids : shape (secondary, dim), of unit length.
    parent : shape (secondary,), the primary cluster of each secondary one.
    encoder_id : of the vectors that they were fitted on, and that they may be compared with.
    trained_until_us : items known before this time were seen.
    """

    centroids: NDArray[np.float32]
    parent: NDArray[np.int32]
    encoder_id: str
    trained_until_us: int

    @cached_property
    def version(self) -> str:
        """A short hash of everything that shapes an item's codes."""
        digest = hashlib.sha256(f"{self.encoder_id} {self.trained_until_us}".encode())
        digest.update(self.centroids.tobytes() + self.parent.tobytes())
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
        code = np.empty(len(vectors), np.int32)
        for start in range(0, len(vectors), block):
            rows = np.arange(start, min(start + block, len(vectors)))
            code[rows] = (vectors.take(rows) @ self.centroids.T).argmax(axis=1)
        return code

    def save(self, path: Path) -> None:
        """Write everything into one ``.npz`` file."""
        np.savez(
            path,
            centroids=self.centroids,
            parent=self.parent,
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
                str(kept["encoder_id"]),
                int(kept["trained_until_us"]),
            )


def fit_global_clusters(
    vectors: EmbeddingTable,
    *,
    primary: int = 128,
    secondary: int = 1_024,
    trained_until_us: int,
    seed: int = 0,
) -> GlobalClusters:
    """Cluster the items that were known before a time.

    Notes
    -----
    Sees vectors available before ``trained_until_us`` and nothing else. Mini-batches, so
    the cost grows linearly: O(items secondary dim). The same seed gives the same clusters.

    Raises
    ------
    InputError
        Fewer known items than secondary clusters, or fewer of these than primary ones.
    """
    known = np.flatnonzero(vectors.available_at_us < trained_until_us)
    if not len(known) >= secondary >= primary >= 1:
        raise InputError.say(
            "global clusters",
            f"{len(known)} known items, {secondary} secondary and {primary} primary clusters",
            hint="ask for fewer clusters than there are items, and for fewer primary ones",
        )
    points = vectors.take(known)
    fine = MiniBatchKMeans(secondary, batch_size=8_192, n_init=1, random_state=seed).fit(points)
    centroids = normalise(fine.cluster_centers_)
    members = np.bincount(fine.labels_, minlength=secondary)
    coarse = KMeans(primary, n_init=1, random_state=seed).fit(centroids, sample_weight=members + 1)
    return GlobalClusters(
        centroids, coarse.labels_.astype(np.int32), vectors.encoder_id, trained_until_us
    )
