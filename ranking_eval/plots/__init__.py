"""Plots of an evaluation as SVG text that takes its colours from the page around it.

Text and axes are drawn in ``currentColor``, so that one picture suits a light and
a dark page; marks have colours that show on both. Names are never parsed as
formulas, and matplotlib escapes them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ranking_eval.evaluation import Evaluation
from ranking_eval.inference import Lift
from ranking_eval.metrics import compute_calibration_curve

INK: Final = "#010203"
"""Drawn in place of the page's text colour, and replaced in the SVG."""
COLOURS: Final = ("#3b82c4", "#d9822b", "#8a8f98", "#2e9e6b", "#b65fc4", "#c4504b")
METRIC_NAMES: Final = {
    "auc": "AUC",
    "grouped_auc": "impression-weighted grouped AUC",
    "log_loss": "log loss (lower is better)",
}
WIDTH: Final = 5.0
"""Inches: narrow enough for its text to be read on a phone."""
IMPORTANT_COLUMNS: Final = 15
CALIBRATION_BINS: Final = 15

STYLE: Final = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
}


def draw_all(evaluation: Evaluation) -> dict[str, str]:
    """Return every plot as SVG text by its name."""
    plots = {
        "lift": draw_forest(evaluation),
        "seeds": draw_seeds(evaluation),
        "calibration": draw_calibration(evaluation),
    }
    if any(part.lift for part in evaluation.slices):
        plots["slices"] = draw_slices(evaluation)
    if evaluation.ablation:
        plots["ablation"] = draw_ablation(evaluation)
    for name in evaluation.arms:
        plots[f"importance of {name}"] = draw_importance(evaluation, name)
    return plots


def list_comparisons(evaluation: Evaluation) -> dict[str, Mapping[str, Lift]]:
    """Return the comparisons that were made, by the words of the report."""
    comparisons = {
        "treatment - control": evaluation.lift,
        "placebo - control": evaluation.placebo,
        "treatment - placebo": evaluation.lift_over_placebo,
    }
    return {words: lifts for words, lifts in comparisons.items() if lifts}


def draw_forest(evaluation: Evaluation) -> str:
    """Draw each comparison's difference and interval, one panel a metric."""
    comparisons = list_comparisons(evaluation)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.0 + 1.4 * len(evaluation.lift)), layout="constrained")
        panels = figure.subplots(len(evaluation.lift), 1, squeeze=False)[:, 0]
        for panel, metric in zip(panels, evaluation.lift, strict=True):
            for place, lifts in enumerate(comparisons.values()):
                lift, colour = lifts[metric], COLOURS[place + 1]
                panel.plot([lift.low, lift.high], [place, place], color=colour, linewidth=3)
                panel.plot(lift.delta, place, "o", color=colour, markersize=7)
            panel.axvline(0, color=INK, linewidth=0.8, linestyle=":")
            panel.set_yticks(range(len(comparisons)), list(comparisons))
            panel.set_ylim(len(comparisons) - 0.5, -0.5)
            panel.locator_params(axis="x", nbins=5)
            panel.set_title(f"difference of {METRIC_NAMES[metric]}", loc="left", fontsize=10)
        return _to_svg(figure, "lift")


def draw_slices(evaluation: Evaluation) -> str:
    """Draw the lift of each slice and its interval, below that of all rows."""
    lifts = {"all rows": evaluation.lift["auc"]}
    lifts.update({part.name: part.lift for part in evaluation.slices if part.lift})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 0.28 * len(lifts)), layout="constrained")
        panel = figure.subplots()
        for place, lift in enumerate(lifts.values()):
            colour = COLOURS[1] if place == 0 else COLOURS[0]
            panel.plot([lift.low, lift.high], [place, place], color=colour, linewidth=3)
            panel.plot(lift.delta, place, "o", color=colour, markersize=6)
        panel.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        panel.set_yticks(range(len(lifts)), [_shorten(name) for name in lifts])
        panel.set_ylim(len(lifts) - 0.5, -0.5)
        panel.locator_params(axis="x", nbins=5)
        panel.set_xlabel("difference of AUC")
        return _to_svg(figure, "slices")


def draw_ablation(evaluation: Evaluation) -> str:
    """Draw what each group of columns is worth: left out, and alone."""
    groups = evaluation.ablation
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.4 + 0.4 * len(groups)), layout="constrained")
        panel = figure.subplots()
        for side, words in enumerate(("left_out", "alone")):
            for place, group in enumerate(groups):
                lift, height = getattr(group, words), place + 0.3 * (side - 0.5)
                label = words.replace("_", " ") if place == 0 else None
                colour = COLOURS[side]
                panel.plot([lift.low, lift.high], [height, height], color=colour, linewidth=3)
                panel.plot(lift.delta, height, "o", color=colour, markersize=6, label=label)
        panel.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        panel.set_yticks(range(len(groups)), [_shorten(group.group) for group in groups])
        panel.set_ylim(len(groups) - 0.5, -0.5)
        panel.locator_params(axis="x", nbins=5)
        panel.set_xlabel("AUC lost without the group, and gained by it alone")
        panel.legend()
        return _to_svg(figure, "ablation")


def draw_seeds(evaluation: Evaluation) -> str:
    """Draw each fit's metrics as a dot, one row an arm, and their mean as a bar."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.0 + 1.4 * len(evaluation.lift)), layout="constrained")
        panels = figure.subplots(len(evaluation.lift), 1, squeeze=False)[:, 0]
        for panel, metric in zip(panels, evaluation.lift, strict=True):
            for place, arm in enumerate(evaluation.arms.values()):
                values = arm.seed_metrics[metric]
                colour = COLOURS[place % len(COLOURS)]
                panel.plot(values, np.full(len(values), place), "o", color=colour, alpha=0.6)
                panel.plot(arm.metrics[metric], place, "|", color=INK, markersize=14)
            panel.set_yticks(range(len(evaluation.arms)), list(evaluation.arms))
            panel.set_ylim(len(evaluation.arms) - 0.5, -0.5)
            panel.locator_params(axis="x", nbins=5)
            panel.set_title(METRIC_NAMES[metric], loc="left", fontsize=10)
        return _to_svg(figure, "seeds")


def draw_importance(evaluation: Evaluation, arm: str) -> str:
    """Draw the columns with the largest share of an arm's gain."""
    ordered = sorted(evaluation.arms[arm].fit.importance.items(), key=lambda pair: -pair[1])
    names, shares = zip(*ordered[:IMPORTANT_COLUMNS], strict=True)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 0.26 * len(names)), layout="constrained")
        panel = figure.subplots()
        panel.barh(range(len(names)), shares, color=COLOURS[0], height=0.7)
        panel.set_yticks(range(len(names)), [_shorten(name) for name in names])
        panel.invert_yaxis()
        panel.set_xlabel("share of gain")
        return _to_svg(figure, f"importance-{list(evaluation.arms).index(arm)}")


def draw_calibration(evaluation: Evaluation) -> str:
    """Draw the share of label 1 against the prediction, in bins of equal size."""
    labels = evaluation.test_labels
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
        panel = figure.subplots()
        for place, (name, arm) in enumerate(evaluation.arms.items()):
            curve = compute_calibration_curve(
                labels, arm.fit.scores.mean(axis=0), bins=CALIBRATION_BINS
            )
            colour = COLOURS[place % len(COLOURS)]
            panel.plot(
                curve.predicted, curve.observed, "o-", color=colour, label=name, markersize=4
            )
        panel.axline((0, 0), slope=1, color=INK, linewidth=0.8, linestyle=":")
        panel.set_xlabel("mean prediction (seeds averaged)")
        panel.set_ylabel("share of label 1")
        panel.legend()
        return _to_svg(figure, "calibration")


def _shorten(name: str, most: int = 34) -> str:
    """Return ``feature (view)`` for Feast's ``view__feature``, cut at its end."""
    view, _, feature = name.rpartition("__")
    words = f"{feature} ({view})" if view else feature
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _to_svg(figure: Figure, salt: str) -> str:
    """Return the figure as an SVG element whose ids are its own, the same every time."""
    text = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": salt}):
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")
