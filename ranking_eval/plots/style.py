"""How every plot looks: an SVG that takes its text colour from the page around it.

Text and axes are drawn in ``currentColor``, so that one picture suits a light and
a dark page; marks have colours that show on both. Names are never parsed as
formulas, and matplotlib escapes them.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

INK: Final = "#010203"
"""Drawn in place of the page's text colour, and replaced in the SVG."""
COLOURS: Final = ("#3b82c4", "#d9822b", "#8a8f98", "#2e9e6b", "#b65fc4", "#c4504b")
WIDTH: Final = 5.0
"""Inches: narrow enough for its text to be read on a phone."""

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

Draw = Callable[[Any], None]
"""Draws into one panel (matplotlib's axes)."""


def draw_panels(salt: str, height: float, *draws: Draw) -> str:
    """Return panels below each other as one SVG element.

    Parameters
    ----------
    salt : keeps the ids of one picture apart from those of others, the same every time.
    height : inches.
    draws : one a panel.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        panels = figure.subplots(len(draws), 1, squeeze=False)[:, 0]
        for panel, draw in zip(panels, draws, strict=True):
            draw(panel)
        text = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


def list_down(panel: Any, names: list[str]) -> None:
    """Name the rows of a panel from top to bottom."""
    panel.set_yticks(range(len(names)), [shorten(name) for name in names])
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.locator_params(axis="x", nbins=5)


def mark_interval(panel: Any, lift: Any, height: float, colour: str, **options: Any) -> None:
    """Draw a difference as a dot on its interval."""
    panel.plot([lift.low, lift.high], [height, height], color=colour, linewidth=3)
    panel.plot(lift.delta, height, "o", color=colour, markersize=6, **options)


def mark_zero(panel: Any) -> None:
    """Draw the line of no difference."""
    panel.axvline(0, color=INK, linewidth=0.8, linestyle=":")


def colour_of(place: int) -> str:
    """Return the colour of the arm at this place."""
    return COLOURS[place % len(COLOURS)]


def shorten(name: str, most: int = 34) -> str:
    """Return ``feature (view)`` for Feast's ``view__feature``, cut at its end."""
    view, _, feature = name.rpartition("__")
    words = f"{feature} ({view})" if view else feature
    return words if len(words) <= most else f"{words[: most - 1]}…"
