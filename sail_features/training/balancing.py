"""Adaptive balancing: data sets that look like the downstream tests are drawn more often.

Each data set is summed up by the centroids of its vectors, per modality and fused. The
likeness of a training set to a validation set is the mean cosine under the optimal
transport of one's centroids to the other's; likenesses are summed over the validation
sets, and a softmax over the training sets gives the probabilities of `loop.train`.

References
----------
arXiv 2510.12709, "adaptive multi-source balancing" (its figure's sum and softmax, where the
prose averages). Sinkhorn: Cuturi (arXiv 1306.0895). The number of centroids, the
transport's epsilon and the softmax' temperature are chosen here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import logsumexp, softmax

from sail_features.config import Section
from sail_features.embeddings import normalise
from sail_features.errors import InputError, show
from sail_features.training.patterns import FUSED
from sail_features.training.vectors import embed_rows

if TYPE_CHECKING:
    from sail_features.encoders.omni.model import OmniModel
    from sail_features.training.pairs import PairDataset

ROUNDS: Final = 200
"""Of Sinkhorn's scaling; enough for marginals to 1e-6 at the default epsilon."""

Views: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Unit vectors, or centroids, by modality and `FUSED`; shape (rows, dim) each."""


class BalancingSettings(Section):
    """How likeness is measured; ``samples`` items of each data set are looked at."""

    samples: int = Field(default=10_000, ge=2)
    centroids: int = Field(default=32, ge=1)
    epsilon: float = Field(default=0.05, gt=0)
    temperature: float = Field(default=0.1, gt=0)


def balance(
    training: Mapping[str, Views], validation: Mapping[str, Views], settings: BalancingSettings
) -> dict[str, float]:
    """Return the probability of each training set; they sum to 1.

    Parameters
    ----------
    training, validation : vectors of each data set by its name, of one model.

    Raises
    ------
    InputError
        No validation set, or one that shares no modality with a training set.
    """
    if not validation or not training:
        raise InputError.say(
            "balancing",
            f"{len(training)} training and {len(validation)} validation sets",
            hint="name at least one of each",
        )
    ours, theirs = (
        [{name: summarise(rows, settings.centroids) for name, rows in views.items()}
         for views in sets.values()]
        for sets in (training, validation)
    )  # fmt: skip
    likeness = [sum(likeness_of(a, b, settings.epsilon) for b in theirs) for a in ours]
    shares = softmax(np.array(likeness) / settings.temperature)
    return dict(zip(training, shares.tolist(), strict=True))


def likeness_of(ours: Views, theirs: Views, epsilon: float) -> float:
    """Return the likeness of two sets of centroids: of the fused ones if both have them.

    Otherwise the mean over the modalities that both have.
    """
    shared = sorted(set(ours) & set(theirs))
    if not shared:
        raise InputError.say(
            "balancing",
            f"a training set has {show(ours)}, a validation set {show(theirs)}",
            hint="give validation sets that share a modality with every training set",
        )
    views = [FUSED] if FUSED in shared else shared
    return float(np.mean([_transported(ours[v] @ theirs[v].T, epsilon) for v in views]))


def sinkhorn(cost: NDArray[np.float64], epsilon: float) -> NDArray[np.float64]:
    """Return the entropic transport plan between uniform masses, shape of ``cost``.

    Examples
    --------
    >>> sinkhorn(np.array([[0.0, 1.0], [1.0, 0.0]]), 0.05).round(3)
    array([[0.5, 0. ],
           [0. , 0.5]])
    """
    rows, columns = cost.shape
    left, right = np.zeros((rows, 1)), np.zeros((1, columns))
    scaled = -cost / epsilon
    for _ in range(ROUNDS):
        left = -np.log(rows) - logsumexp(scaled + right, axis=1, keepdims=True)
        right = -np.log(columns) - logsumexp(scaled + left, axis=0, keepdims=True)
    plan: NDArray[np.float64] = np.exp(scaled + left + right)
    return plan


def summarise(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the directions of at most ``count`` k-means centroids of unit vectors."""
    from sklearn.cluster import KMeans

    found = KMeans(min(count, len(vectors)), n_init=1, random_state=0).fit(vectors)
    return normalise(found.cluster_centers_)


def collect_views(
    model: OmniModel, data: PairDataset, settings: BalancingSettings, rng: np.random.Generator
) -> Views:
    """Return vectors of a sample of a data set's items, fused and of each modality alone.

    Both sides are looked at. The fused view is of what a side shows; an item without a
    modality is left out of that modality's.
    """
    found: dict[str, list[NDArray[np.float32]]] = {}
    for side in (data.query, data.target):
        rows = np.unique(side.rows)
        if len(rows) > settings.samples:
            rows = np.sort(rng.choice(rows, settings.samples, replace=False))
        for view in (FUSED, *side.modalities):
            shown: Sequence[str] = side.modalities if view == FUSED else (view,)
            has = np.any([side.inputs.has[name][rows] for name in shown], axis=0)
            found.setdefault(view, []).append(embed_rows(model, side.inputs, rows[has], shown))
    return {view: np.concatenate(parts) for view, parts in found.items()}


def _transported(cosines: NDArray[np.float32], epsilon: float) -> float:
    likeness: NDArray[np.float64] = cosines.astype(np.float64)
    return float((sinkhorn(1 - likeness, epsilon) * likeness).sum())
