"""Value against cost: which choice is worth its price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ranking_eval.cost import COST_NAMES, Cost, stack_costs
from ranking_eval.inference import Lift
from ranking_eval.metrics.arrays import Flags, Floats
from ranking_eval.pareto import find_front
from ranking_eval.plots.style import COLOURS, INK, draw_panels, shorten


def draw_front(salt: str, gains: Mapping[str, Lift], costs: Mapping[str, Cost]) -> str:
    """Draw each choice's AUC gained over each cost that is known of all, a panel a cost.

    Parameters
    ----------
    gains, costs : by the choice's name. The Pareto front of a panel is that of its own
        cost, and is joined by a line.
    """
    kinds, table = stack_costs([costs[name] for name in gains])
    values = np.array([lift.delta for lift in gains.values()])
    draws = [
        partial(_draw, kind=kind, gains=gains, cost=cost, front=find_front(values, cost[:, None]))
        for kind, cost in zip(kinds, table.T, strict=True)
    ]
    return draw_panels(salt, 3.4 * len(kinds), *draws)


def _draw(panel: Any, kind: str, gains: Mapping[str, Lift], cost: Floats, front: Flags) -> None:
    for name, lift, price, is_best in zip(gains, gains.values(), cost, front, strict=True):
        colour = COLOURS[1] if is_best else COLOURS[2]
        panel.plot([price, price], [lift.low, lift.high], color=colour, linewidth=2)
        panel.plot(price, lift.delta, "o", color=colour, markersize=6)
        panel.annotate(
            shorten(name),
            (price, lift.delta),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
        )
    _join(panel, cost, np.array([lift.delta for lift in gains.values()]), front)
    panel.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    panel.margins(x=0.18)
    panel.set_xlabel(COST_NAMES[kind])
    panel.set_ylabel("AUC gained")


def _join(panel: Any, cost: Floats, values: Floats, front: Flags) -> None:
    best: Sequence[int] = np.flatnonzero(front)[np.argsort(cost[front], kind="stable")].tolist()
    panel.plot(cost[best], values[best], color=COLOURS[1], linewidth=1, linestyle="--")
