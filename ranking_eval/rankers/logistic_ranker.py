"""A linear ranker: logistic regression on standardised columns.

A second opinion of another kind: a lift that only trees see may be an interaction, one
that only a line sees is rare. It has no seeds: all of them give the same scores.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

import numpy as np

from ranking_eval.metrics import compute_log_loss
from ranking_eval.rankers.protocol import Fit, RankerRows
from sail_features.config import EvalConfig

STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0)
"""Inverse regularisation to choose from, by log loss on the validation rows."""
MAX_ITERATIONS: Final = 500


def fit_logistic(rows: RankerRows, config: EvalConfig) -> Fit:
    """Fit a logistic regression for each strength and keep the best on validation rows.

    Numbers are cut at their 1st and 99th percentile, their missing values take the
    median and a flag of their own; categories are one column a value. All of that is
    learned from training rows. ``config.params`` belongs to LightGBM and is passed over.
    """
    began = time.perf_counter()
    matrix, labels, split = rows.matrix, rows.labels, rows.split
    prepare = _Columns(matrix.values[split.train], matrix.categorical)
    parts = {
        part: prepare(matrix.values[getattr(split, part)])
        for part in ("train", "validation", "test")
    }
    fits = [_fit(parts["train"], labels[split.train], strength) for strength in STRENGTHS]
    losses = [
        compute_log_loss(labels[split.validation], fit.predict_proba(parts["validation"])[:, 1])
        for fit in fits
    ]
    best = fits[int(np.argmin(losses))]
    scores = best.predict_proba(parts["test"])[:, 1]
    weights = np.zeros(len(matrix.columns))
    np.add.at(weights, prepare.source, np.abs(best.coef_[0]) * parts["train"].std(axis=0))
    shares = weights / weights.sum() if weights.any() else weights
    model = {"intercept": best.intercept_.tolist(), "weights": best.coef_[0].tolist()}
    return Fit(
        scores=np.tile(scores, (len(config.seeds), 1)),
        best_iterations=tuple(int(best.n_iter_[0]) for _ in config.seeds),
        importance=dict(zip(matrix.columns, shares.tolist(), strict=True)),
        model=json.dumps(model),
        seconds=time.perf_counter() - began,
    )


def _fit(values: Any, labels: Any, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS).fit(values, labels)


class _Columns:
    """Turns features into numbers of similar size; ``source`` names each one's column."""

    def __init__(self, training: Any, categorical: list[int]) -> None:
        self.numbers = [at for at in range(training.shape[1]) if at not in categorical]
        self.categorical = categorical
        known = training[:, self.numbers]
        empty = np.isnan(known).all(axis=0)
        known[:, empty] = 0
        self.low, self.middle, self.high = np.nanpercentile(known, [1, 50, 99], axis=0)
        filled = self._fill(known)
        self.mean, self.deviation = filled.mean(axis=0), filled.std(axis=0)
        self.deviation[self.deviation == 0] = 1
        self.values = [np.unique(training[:, at][~np.isnan(training[:, at])]) for at in categorical]
        one_hot = [at for at, values in zip(categorical, self.values, strict=True) for _ in values]
        self.source = np.array([*self.numbers, *self.numbers, *one_hot], np.int64)

    def __call__(self, features: Any) -> Any:
        """Return shape (rows, len(source))."""
        numbers = features[:, self.numbers]
        standard = (self._fill(numbers) - self.mean) / self.deviation
        flags = [
            np.equal.outer(features[:, at], values)
            for at, values in zip(self.categorical, self.values, strict=True)
        ]
        return np.concatenate([standard, np.isnan(numbers), *flags], axis=1, dtype=np.float64)

    def _fill(self, numbers: Any) -> Any:
        return np.where(np.isnan(numbers), self.middle, np.clip(numbers, self.low, self.high))
