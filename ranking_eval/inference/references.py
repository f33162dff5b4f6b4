"""The standard error of an AUC lift by other methods, to stand beside the jackknife's.

For comparison only: none of them enters an interval or a verdict.
"""

from __future__ import annotations

import numpy as np

from ranking_eval.inference.bootstrap import bootstrap_auc
from ranking_eval.inference.delong import compute_delong_variance
from ranking_eval.inference.rows import JudgedRows
from ranking_eval.inference.sandwich import (
    compute_difference_influence,
    compute_sandwich_variance,
    compute_two_way_variance,
)
from ranking_eval.metrics.arrays import Codes, Floats


def compute_references(
    rows: JudgedRows, treatment: Floats, control: Floats, items: Codes, *, draws: int = 1000
) -> dict[str, float]:
    """Compute the standard error of the difference of two arms' mean AUC, method by method.

    Parameters
    ----------
    rows : with the clusters.
    treatment, control : scores, shape (seeds, rows).
    items : codes from 0, all occurring.
    draws : of the bootstrap.

    Returns
    -------
    ``sandwich`` and ``bootstrap`` by cluster, ``two_way`` by cluster and item, and
    ``delong``, which takes rows as independent. Training noise is in none.

    Notes
    -----
    Nearly all time goes to the bootstrap: about 2 seconds a million rows, seed and arm.
    """
    influence = compute_difference_influence(rows, treatment, control, rows.clusters)
    drawn = bootstrap_auc(rows, [*treatment, *control], draws=draws)
    ours, theirs = drawn[: len(treatment)], drawn[len(treatment) :]
    differences = ours.mean(axis=0) - theirs.mean(axis=0)
    variances = {
        "sandwich": compute_sandwich_variance(influence),
        "bootstrap": np.nanvar(differences, ddof=1),
        "two_way": compute_two_way_variance(rows, treatment, control, items),
        "delong": compute_delong_variance(rows.positive, treatment, control),
    }
    return {method: float(np.sqrt(variance)) for method, variance in variances.items()}
