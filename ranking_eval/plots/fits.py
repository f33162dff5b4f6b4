"""Plots of fits: every seed, what the trees use, and whether scores and ranks are right."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np

from ranking_eval.evaluation import Evaluation
from ranking_eval.formats import METRIC_NAMES
from ranking_eval.metrics import compute_calibration_curve
from ranking_eval.plots.style import COLOURS, INK, colour_of, draw_panels, list_down

IMPORTANT_COLUMNS: Final = 15
CALIBRATION_BINS: Final = 15
CURVE_HEIGHT: Final = 3.8


def draw_seeds(evaluation: Evaluation) -> str:
    """Draw each fit's metrics as a dot, one row an arm, and their mean as a bar."""

    def draw(panel: Any, metric: str) -> None:
        for place, arm in enumerate(evaluation.arms.values()):
            values = arm.seed_metrics[metric]
            heights = np.full(len(values), place)
            panel.plot(values, heights, "o", color=colour_of(place), alpha=0.6)
            panel.plot(arm.metrics[metric], place, "|", color=INK, markersize=14)
        list_down(panel, list(evaluation.arms))
        panel.set_title(METRIC_NAMES[metric], loc="left", fontsize=10)

    metrics = list(evaluation.lift)
    height = 1.0 + len(metrics) * (0.6 + 0.27 * len(evaluation.arms))
    return draw_panels("seeds", height, *(partial(draw, metric=one) for one in metrics))


def draw_importance(evaluation: Evaluation, arm: str) -> str:
    """Draw the columns with the largest share of an arm's gain."""
    ordered = sorted(evaluation.arms[arm].fit.importance.items(), key=lambda pair: -pair[1])
    names, shares = zip(*ordered[:IMPORTANT_COLUMNS], strict=True)

    def draw(panel: Any) -> None:
        panel.barh(range(len(names)), shares, color=COLOURS[0], height=0.7)
        list_down(panel, list(names))
        panel.set_xlabel("share of gain")

    place = list(evaluation.arms).index(arm)
    return draw_panels(f"importance-{place}", 0.9 + 0.26 * len(names), draw)


def draw_calibration(evaluation: Evaluation) -> str:
    """Draw the share of label 1 against the prediction, in bins of equal size."""

    def draw(panel: Any) -> None:
        for place, (name, arm) in enumerate(evaluation.arms.items()):
            curve = compute_calibration_curve(
                evaluation.test_labels, arm.fit.scores.mean(axis=0), bins=CALIBRATION_BINS
            )
            points = curve.predicted, curve.observed
            panel.plot(*points, "o-", color=colour_of(place), label=name, markersize=4)
        panel.axline((0, 0), slope=1, color=INK, linewidth=0.8, linestyle=":")
        panel.set_xlabel("mean prediction (seeds averaged)")
        panel.set_ylabel("share of label 1")
        panel.legend()

    return draw_panels("calibration", CURVE_HEIGHT, draw)


def draw_roc(evaluation: Evaluation) -> str:
    """Draw the ROC curve of each arm, seeds averaged."""

    def draw(panel: Any) -> None:
        for place, (name, arm) in enumerate(evaluation.curves.items()):
            panel.plot(*arm.roc, color=colour_of(place), label=name, linewidth=1.5)
        panel.axline((0, 0), slope=1, color=INK, linewidth=0.8, linestyle=":")
        panel.set_xlabel("share of label 0 above the threshold")
        panel.set_ylabel("share of label 1 above it")
        panel.legend()

    return draw_panels("roc", CURVE_HEIGHT, draw)


def draw_learning(evaluation: Evaluation) -> str:
    """Draw the validation AUC of each arm by boosting round, first seed."""

    def draw(panel: Any) -> None:
        for place, (name, arm) in enumerate(evaluation.curves.items()):
            if arm.learning is not None:
                panel.plot(*arm.learning, color=colour_of(place), label=name, linewidth=1.5)
        panel.set_xlabel("boosting rounds, up to where training stopped")
        panel.set_ylabel("AUC on the validation rows")
        panel.legend()

    return draw_panels("learning", CURVE_HEIGHT, draw)
