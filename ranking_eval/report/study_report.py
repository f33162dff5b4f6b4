"""The report of a study: one table and one picture of value against cost."""

from __future__ import annotations

import json
from pathlib import Path

from ranking_eval.cost import COST_NAMES
from ranking_eval.formats import format_lift
from ranking_eval.plots import draw_front
from ranking_eval.report.render import render
from ranking_eval.study import Study, StudyResult


def write_study(found: StudyResult, study: Study, folder: Path) -> Path:
    """Write ``report.html``, ``report.md`` and ``summary.json`` into a folder; return the first.

    Notes
    -----
    Names are escaped, as in `write_report`.
    """
    told = {
        "found": found,
        "study": study,
        "headline": say_best(found),
        "cost_names": COST_NAMES,
    }
    plot = draw_front("study", found.gains(), found.costs())
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    page.write_text(render("study.html.jinja", **told, plot=plot), encoding="utf-8")
    page.with_suffix(".md").write_text(render("study.md.jinja", **told), encoding="utf-8")
    summary = {"study": study.name, "headline": told["headline"], **found.summary()}
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return page


def say_best(found: StudyResult) -> str:
    """Say in one sentence which subset gains the most."""
    name, lift = max(found.gains().items(), key=lambda pair: pair[1].delta)
    return f"{name} gains the most: {format_lift(lift)} AUC"
