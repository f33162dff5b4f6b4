"""Paired Poisson bootstrap by cluster: a check of the jackknife that assumes less.

Each draw weighs every cluster by a Poisson number of mean 1, the same for both arms.
Scores are sorted once; a block of draws is then counted in one pass over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ranking_eval.inference.rows import JudgedRows
from ranking_eval.metrics.arrays import Codes, Floats, sum_by_group
from ranking_eval.metrics.score_order import order_scores

LANES: Final = 64
"""Draws of a block: a cluster's weights fill one cache line."""


def bootstrap_auc(
    rows: JudgedRows, scores: Sequence[Floats], *, draws: int = 1000, seed: int = 0
) -> Floats:
    """Return the AUC of each score in each draw of clusters, shape (scores, draws).

    Parameters
    ----------
    rows : with the clusters that are drawn.
    scores : one array of shape (rows,) an arm; all see the same draws.
    draws : how many.
    seed : of the draws.

    Notes
    -----
    NaN where a draw holds one label only. O(rows x draws) additions, O(clusters x
    draws) random numbers; memory of a block of `LANES` draws.

    References
    ----------
    Chamandy et al., "Estimating Uncertainty for Massive Data Streams", Google, 2012.
    """
    orders = [order_scores(of_arm) for of_arm in scores]
    signed = [(rows.clusters * 2 + rows.positive)[order.rows] for order in orders]
    weights = [rows.weights[order.rows] for order in orders]
    labels = (
        sum_by_group(rows.weights * rows.positive, rows.clusters, rows.cluster_count),
        sum_by_group(rows.weights * ~rows.positive, rows.clusters, rows.cluster_count),
    )
    blocks = -(-draws // LANES)
    found = np.empty((len(scores), blocks * LANES))
    for block, child in enumerate(np.random.SeedSequence(seed).spawn(blocks)):
        drawn = np.random.default_rng(child).poisson(1.0, (rows.cluster_count, LANES))
        times = np.minimum(drawn, np.iinfo(np.uint8).max).astype(np.uint8)
        pairs = np.multiply(*(of_cluster @ times for of_cluster in labels))
        lanes = slice(block * LANES, (block + 1) * LANES)
        for arm, order in enumerate(orders):
            won = _scan(order.starts, signed[arm], weights[arm], times)
            found[arm, lanes] = np.divide(won, pairs, out=np.full(LANES, np.nan), where=pairs > 0)
    return found[:, :draws]


@njit(cache=True, nogil=True)
def _scan(starts: Codes, signed: Codes, weights: Floats, times: NDArray[np.uint8]) -> Floats:
    """Return the weight of won pairs in each lane; rows come by ascending score."""
    below, won = np.zeros(LANES), np.zeros(LANES)
    for run in range(starts.size - 1):
        begin, end = starts[run], starts[run + 1]
        _add_won(signed, weights, times, below, begin, end, won)
        for place in range(begin, end):
            if not signed[place] & 1:
                drawn, weight = times[signed[place] >> 1], weights[place]
                for lane in range(LANES):
                    below[lane] += weight * drawn[lane]
        _add_won(signed, weights, times, below, begin, end, won)
    return won


@njit(cache=True, nogil=True)
def _add_won(
    signed: Codes,
    weights: Floats,
    times: NDArray[np.uint8],
    below: Floats,
    begin: int,
    end: int,
    won: Floats,
) -> None:
    """Add half of what is below to each positive of a run, before and after its negatives."""
    for place in range(begin, end):
        if signed[place] & 1:
            drawn, weight = times[signed[place] >> 1], 0.5 * weights[place]
            for lane in range(LANES):
                won[lane] += weight * drawn[lane] * below[lane]
