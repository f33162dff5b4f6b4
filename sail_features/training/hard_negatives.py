"""Dynamic hard negatives: the most similar targets below the data set's own threshold.

Of all cross pairs, those at or above the cosine that best tells pairs from non-pairs are
taken to be matches that nobody wrote down, and dropped; of the rest, each query keeps the
nearest. As the model changes, threshold and negatives are computed again.

    lambda* = argmax over lambda of F1(cosine >= lambda tells a pair)

References
----------
arXiv 2510.12709, "dynamic hard negative mining". Chosen here, where it is silent: the
threshold comes from the pairs and cross pairs of one random sample of the data set, five
negatives a query, from a random pool of the targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sail_features.config import Section
from sail_features.training.pairs import PairDataset
from sail_features.training.vectors import embed_rows

if TYPE_CHECKING:
    from sail_features.encoders.omni.model import OmniModel

BLOCK = 1024
"""Queries whose cosines to the pool are in memory at a time."""


class HardNegativeSettings(Section):
    """How many negatives a query keeps, from how many targets, and at which threshold.

    ``sample``: pairs that the threshold is computed on; ``pool``: targets, of a larger
    catalogue a random part.
    """

    per_query: int = Field(default=5, ge=1)
    sample: int = Field(default=1024, ge=2)
    pool: int = Field(default=20_000, ge=2)


@dataclass(frozen=True)
class Mined:
    """Hard negatives of a data set.

    ``threshold``: lambda*. ``targets``: rows of the target's inputs, shape (queries,
    per_query), for each distinct row of the query's in ascending order; -1 where there are
    fewer.
    """

    threshold: float
    targets: NDArray[np.int64]


def best_threshold(positives: NDArray[np.float32], negatives: NDArray[np.float32]) -> float:
    """Return the cosine at and above which to call a pair a match, by the best F1.

    Of several best ones the highest. Cost: one sort.

    Examples
    --------
    >>> best_threshold(np.float32([0.75, 0.5, 0.1]), np.float32([0.25, 0.2, 0.2]))
    0.5
    """
    scores = np.concatenate([positives, negatives])
    is_match = np.repeat([True, False], [len(positives), len(negatives)])
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(is_match[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + len(positives))
    last_of_ties = np.append(scores[1:] != scores[:-1], True)
    return float(scores[np.argmax(np.where(last_of_ties, f1, -1))])


def mine_hard_negatives(
    model: OmniModel,
    data: PairDataset,
    settings: HardNegativeSettings,
    rng: np.random.Generator,
) -> Mined:
    """Return the hard negatives of every query under the model as it is.

    Notes
    -----
    Cost: encoding all distinct queries and the pool, and their product.
    """
    threshold = _find_threshold(model, data, settings.sample, rng)
    queries = np.unique(data.query.rows)
    targets = np.unique(data.target.rows)
    if len(targets) > settings.pool:
        targets = np.sort(rng.choice(targets, settings.pool, replace=False))
    pool = embed_rows(model, data.target.inputs, targets, data.target.modalities)
    found = np.full((len(queries), settings.per_query), -1, np.int64)
    for start in range(0, len(queries), BLOCK):
        rows = queries[start : start + BLOCK]
        cosines = embed_rows(model, data.query.inputs, rows, data.query.modalities) @ pool.T
        known = data.known_among(rows, targets)
        cosines[known[0], known[1]] = np.inf
        nearest = nearest_below(cosines, threshold, settings.per_query)
        found[start : start + BLOCK] = np.where(nearest >= 0, targets[nearest], -1)
    return Mined(threshold, found)


def nearest_below(cosines: NDArray[np.float32], threshold: float, count: int) -> NDArray[np.int64]:
    """Return the columns of each row's highest numbers below a threshold, highest first.

    Returns
    -------
    Shape (rows, count), -1 where there are fewer.

    Examples
    --------
    >>> nearest_below(np.float32([[0.9, 0.2, 0.5], [0.9, 0.8, 0.7]]), 0.6, 2)
    array([[ 2,  1],
           [-1, -1]])
    """
    below = np.where(cosines < threshold, cosines, -np.inf)
    kept = min(count, below.shape[1])
    columns = np.argpartition(-below, kept - 1, axis=1)[:, :kept]
    values = np.take_along_axis(below, columns, axis=1)
    order = np.lexsort((columns, -values), axis=1)
    values = np.take_along_axis(values, order, axis=1)
    nearest = np.where(np.isfinite(values), np.take_along_axis(columns, order, axis=1), -1)
    found = np.full((len(below), count), -1, np.int64)
    found[:, :kept] = nearest
    return found


def _find_threshold(
    model: OmniModel, data: PairDataset, sample: int, rng: np.random.Generator
) -> float:
    places = rng.choice(len(data), min(sample, len(data)), replace=False)
    query, target = data.query.take(places), data.target.take(places)
    left = embed_rows(model, query.inputs, query.rows, query.modalities)
    right = embed_rows(model, target.inputs, target.rows, target.modalities)
    cosines = left @ right.T
    is_known = np.zeros(cosines.shape, bool)
    known = data.known_among(query.rows, target.rows)
    is_known[known[0], known[1]] = True
    positives = np.einsum("ij,ij->i", left, right)
    return best_threshold(positives, cosines[~is_known])
