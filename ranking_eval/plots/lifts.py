"""Plots of differences: comparisons, slices, and groups of columns, with their intervals."""

from __future__ import annotations

from functools import partial
from typing import Any

from ranking_eval.evaluation import RANKED, Evaluation
from ranking_eval.formats import METRIC_NAMES
from ranking_eval.plots.style import (
    COLOURS,
    colour_of,
    draw_panels,
    list_down,
    mark_interval,
    mark_zero,
)


def draw_forest(evaluation: Evaluation) -> str:
    """Draw each comparison's difference and interval, one panel a metric of order."""
    comparisons = evaluation.comparisons()

    def draw(panel: Any, metric: str) -> None:
        for place, lift in enumerate(evaluation.comparisons_of(metric).values()):
            mark_interval(panel, lift, place, colour_of(place + 1))
        mark_zero(panel)
        list_down(panel, list(comparisons))
        panel.set_title(f"difference of {METRIC_NAMES[metric]}", loc="left", fontsize=10)

    height = 1.0 + len(RANKED) * (0.6 + 0.27 * len(comparisons))
    return draw_panels("lift", height, *(partial(draw, metric=one) for one in RANKED))


def draw_slices(evaluation: Evaluation) -> str:
    """Draw the lift of each slice and its interval, below that of all rows."""
    lifts = {"all rows": evaluation.lift["auc"]}
    lifts.update({part.name: part.lift for part in evaluation.slices if part.lift})

    def draw(panel: Any) -> None:
        for place, lift in enumerate(lifts.values()):
            mark_interval(panel, lift, place, COLOURS[1] if place == 0 else COLOURS[0])
        mark_zero(panel)
        list_down(panel, list(lifts))
        panel.set_xlabel("difference of AUC, treatment less control")

    return draw_panels("slices", 0.9 + 0.28 * len(lifts), draw)


def draw_ablation(evaluation: Evaluation) -> str:
    """Draw what each group of columns is worth, left out and alone."""
    groups = evaluation.ablation

    def draw(panel: Any) -> None:
        for place, group in enumerate(groups):
            for side, words in enumerate(("left_out", "alone")):
                label = {"label": words.replace("_", " ")} if place == 0 else {}
                height = place + (side - 0.5) * 0.3
                mark_interval(panel, getattr(group, words), height, COLOURS[side], **label)
        mark_zero(panel)
        list_down(panel, [group.group for group in groups])
        panel.set_xlabel("AUC lost without the group, and gained by it alone")
        panel.legend()

    return draw_panels("ablation", 1.1 + 0.45 * len(groups), draw)
