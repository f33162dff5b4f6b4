"""The summary of a run as one table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ranking_eval.cost import COST_NAMES
from ranking_eval.formats import format_delta

METRICS: Final = {"auc": "AUC", "grouped_auc": "grouped AUC (impression-weighted)"}


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print rows, users, arms, differences with intervals, and the cost of each step.

    Parameters
    ----------
    summary : of `Evaluation.summary`, with ``steps.<name>.{seconds,peak_gb}`` and
        ``dataset`` and ``verdict`` added where known.
    console : where to print.
    """
    # Names come from data and configuration: Text keeps rich from reading markup in them.
    table = Table(title=Text(str(summary.get("dataset", "evaluation"))), show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right")
    for name in ("rows", "users"):
        table.add_row(name, f"{summary[name]:,}")
    table.add_section()
    for arm, figures in summary["arms"].items():
        for metric, words in METRICS.items():
            table.add_row(Text(f"{arm}: {words}"), f"{figures[metric]:.4f}")
    table.add_section()
    for words, comparison in (("lift", "lift"), ("placebo lift", "placebo")):
        for metric, name in METRICS.items():
            if metric in summary.get(comparison, {}):
                table.add_row(f"{words}: {name}", _format(summary[comparison][metric]))
    for role, arm in summary.get("control_arms", {}).items():
        table.add_row(f"{role} lift: {METRICS['auc']}", _format(arm["lift"]["auc"]))
    detectable = summary["lift"].get("auc", {}).get("detectable")
    if detectable:
        table.add_row("smallest lift of AUC that would be seen", f"{format_delta(detectable)}")
    _add_ablation(table, summary.get("ablation", []))
    table.add_section()
    for step, cost in summary.get("steps", {}).items():
        table.add_row(Text(step), f"{cost['seconds']:.1f} s  {cost['peak_gb']:.2f} GB")
    console.print(table)
    if "verdict" in summary:
        console.print(Text(str(summary["verdict"]), style="bold"))
    console.print("Lifts are differences to control with 95 % intervals.", style="dim")


def print_study(summary: Mapping[str, Any], console: Console) -> None:
    """Print what each subset of the inputs gains and costs.

    Parameters
    ----------
    summary : of `StudyResult.summary`.
    console : where to print.
    """
    kinds = [kind for kind in COST_NAMES if any(kind in one["cost"] for one in _subsets(summary))]
    table = Table(title=Text(f"control: AUC {summary['control']['auc']:.4f}"))
    for heading in ("subset", "columns", "AUC gained", *(COST_NAMES[kind] for kind in kinds), ""):
        table.add_column(heading, justify="left" if heading == "subset" else "right")
    for name, one in summary["subsets"].items():
        costs = (f"{one['cost'][kind]:.3g}" if kind in one["cost"] else "-" for kind in kinds)
        mark = "Pareto front" if name in summary["best_buys"] else ""
        gained = _format(one["lift"]["auc"])
        table.add_row(Text(name), str(one["columns"]), gained, *costs, mark)
    console.print(table)
    for words in summary["suspicions"]:
        console.print(Text(f"what looks like a leak: {words}", style="bold"))


def _subsets(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(summary["subsets"].values())


def _add_ablation(table: Table, groups: Sequence[Mapping[str, Any]]) -> None:
    table.add_section()
    for group in groups:
        for words, side in (("lost without", "left_out"), ("gained by", "alone")):
            table.add_row(Text(f"AUC {words} {group['group']}"), _format(group[side]))


def _format(lift: Mapping[str, float]) -> str:
    low, high = format_delta(lift["low"]), format_delta(lift["high"])
    return escape(f"{format_delta(lift['delta'])} [{low}, {high}]")
