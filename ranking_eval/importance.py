"""What a column means to the treatment's ranker, in three ways that differ.

Gain is what training saw in it, contribution (SHAP) how far it moves predictions,
permutation what the test AUC loses when it is shuffled. None is a lift: a column that
another one repeats has all three and is worth nothing (`ranking_eval.ablation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ranking_eval.matrix import Matrix
from ranking_eval.metrics import compute_auc
from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.rankers import Fit
from ranking_eval.split import Rows

MAX_ROWS: Final = 5_000
"""Test rows that are looked at, evenly over the test period."""


@dataclass(frozen=True)
class ColumnImportance:
    """Shares of gain and of absolute contribution, and the AUC lost by shuffling."""

    gain: float
    contribution: float
    permutation: float


def measure_importance(
    fit: Fit, matrix: Matrix, labels: Codes, test: Rows
) -> Mapping[str, ColumnImportance]:
    """Measure each column of a LightGBM ranker, the most contributing first.

    Parameters
    ----------
    fit : of `ranking_eval.rankers.fit_lightgbm`; its first seed is looked at.
    matrix, labels : all rows, as it was fitted on.
    test : the test rows.

    References
    ----------
    Lundberg et al., "From local explanations to global understanding with explainable
    AI for trees", Nature Machine Intelligence 2, 2020, as LightGBM computes it.
    Breiman, "Random Forests", Machine Learning 45, 2001, section 10, for permutation.
    """
    import lightgbm as lgb

    booster = lgb.Booster(model_str=fit.model)
    sample = test[:: max(1, -(-test.size // MAX_ROWS))]
    values, truth = matrix.values[sample], labels[sample]
    contributions = np.abs(booster.predict(values, pred_contrib=True, num_threads=1))[:, :-1]
    total = contributions.sum()
    shares = contributions.sum(axis=0) / total if total else np.zeros(len(matrix.columns))
    lost = _shuffle_each(booster, values, truth)
    found = {
        name: ColumnImportance(fit.importance[name], float(shares[at]), float(lost[at]))
        for at, name in enumerate(matrix.columns)
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1].contribution))


def _shuffle_each(booster: Any, values: Floats, labels: Codes) -> Floats:
    """Return the AUC lost when each column is dealt to other rows."""
    dealt = np.random.default_rng(0).permutation(len(values))
    whole = compute_auc(labels, booster.predict(values, num_threads=1))
    used = booster.feature_importance("split") > 0
    lost = np.zeros(values.shape[1])
    for at in np.flatnonzero(used):
        shuffled = values.copy()
        shuffled[:, at] = values[dealt, at]
        lost[at] = whole - compute_auc(labels, booster.predict(shuffled, num_threads=1))
    return lost
