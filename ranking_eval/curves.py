"""How an arm's ranker ranks and how it learned: its ROC curve, and AUC by boosting round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from ranking_eval.metrics import compute_auc
from ranking_eval.metrics.arrays import Codes, Floats
from ranking_eval.metrics.roc_curve import RocCurve, compute_roc_curve

ROC_POINTS: Final = 101
LEARNING_POINTS: Final = 30
DIGITS: Final = 6
"""Decimals of a curve in JSON."""


class LearningCurve(NamedTuple):
    """AUC on the validation rows after so many rounds; arrays of shape (points,)."""

    rounds: Codes
    auc: Floats


@dataclass(frozen=True, eq=False)
class ArmCurves:
    """The curves of an arm; ``learning`` is None for a ranker that has no rounds."""

    roc: RocCurve
    learning: LearningCurve | None = None

    def summary(self) -> dict[str, Any]:
        """Return the points as JSON-able lists."""
        told: dict[str, Any] = {"roc": _to_lists(self.roc._asdict())}
        if self.learning is not None:
            told["learning"] = _to_lists(self.learning._asdict())
        return told


def trace_roc(labels: Codes, scores: Floats) -> RocCurve:
    """Return the ROC curve of scores averaged over seeds, shape (seeds, rows).

    Rows must be those of one ranker: scores of several folds can't be compared.
    """
    return compute_roc_curve(labels, scores.mean(axis=0), points=ROC_POINTS)


def trace_learning(model: str, values: Floats, labels: Codes) -> LearningCurve:
    """Return the AUC of the validation rows, round by round up to where training stopped.

    Parameters
    ----------
    model : LightGBM's text, such as `ranking_eval.rankers.Fit.model`.
    values, labels : of the validation rows, in the columns of the fit.

    Notes
    -----
    A round's trees are added to the scores of the rounds before it: the whole curve costs
    one prediction and `LEARNING_POINTS` sorts.
    """
    import lightgbm as lgb

    booster = lgb.Booster(model_str=model)
    last = booster.current_iteration()
    rounds = np.unique(np.linspace(1, last, min(last, LEARNING_POINTS)).round().astype(np.int64))
    scores, done, aucs = np.zeros(len(values)), 0, []
    for until in rounds.tolist():
        scores += booster.predict(
            values,
            start_iteration=done,
            num_iteration=until - done,
            raw_score=True,
            num_threads=1,
        )
        done = until
        aucs.append(compute_auc(labels, scores))
    return LearningCurve(rounds, np.array(aucs))


def _to_lists(curve: dict[str, Any]) -> dict[str, list[float]]:
    return {name: np.round(values, DIGITS).tolist() for name, values in curve.items()}
