"""Plots of an evaluation as SVG text that takes its colours from the page around it."""

from __future__ import annotations

from ranking_eval.evaluation import Evaluation
from ranking_eval.plots.fits import (
    draw_calibration,
    draw_importance,
    draw_learning,
    draw_roc,
    draw_seeds,
)
from ranking_eval.plots.front import draw_front
from ranking_eval.plots.lifts import draw_ablation, draw_forest, draw_slices

__all__ = ["draw_all", "draw_front"]


def draw_all(evaluation: Evaluation) -> dict[str, str]:
    """Return every plot as SVG text by its name."""
    plots = {
        "lift": draw_forest(evaluation),
        "seeds": draw_seeds(evaluation),
        "calibration": draw_calibration(evaluation),
    }
    if evaluation.curves:
        plots["roc"] = draw_roc(evaluation)
    if any(arm.learning for arm in evaluation.curves.values()):
        plots["learning"] = draw_learning(evaluation)
    if any(part.lift for part in evaluation.slices):
        plots["slices"] = draw_slices(evaluation)
    if evaluation.ablation:
        plots["ablation"] = draw_ablation(evaluation)
        plots["cost"] = draw_front("cost", evaluation.gains(), evaluation.costs)
    for name in evaluation.arms:
        plots[f"importance of {name}"] = draw_importance(evaluation, name)
    return plots
