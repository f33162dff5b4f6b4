"""The report of an evaluation: a page that needs no network, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ranking_eval.cost import COST_NAMES
from ranking_eval.evaluation import Evaluation
from ranking_eval.experiment import Experiment
from ranking_eval.formats import METRIC_NAMES
from ranking_eval.plots import draw_all
from ranking_eval.report.render import render
from ranking_eval.verdict import compute_verdict

Steps = Mapping[str, Mapping[str, float]]


def write_report(
    evaluation: Evaluation,
    experiment: Experiment,
    path: Path,
    *,
    steps: Steps | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write the verdict, figures, plots and checks of an evaluation as one HTML file.

    Parameters
    ----------
    evaluation : what was found.
    experiment : what was asked.
    path : file to write; its folder is made. The Markdown lies beside it, without plots.
    steps : seconds and peak_gb of each step that led here, by its name.
    notes : sentences to add to the evaluation's own, such as how rows were sampled.

    Notes
    -----
    Names are escaped, in plots by matplotlib: a column called ``<script>`` is shown
    as such.
    """
    told = {
        "found": evaluation,
        "experiment": experiment,
        "verdict": compute_verdict(evaluation),
        "metric_names": METRIC_NAMES,
        "cost_names": COST_NAMES,
        "notes": [*evaluation.notes, *notes],
    }
    page = render("evaluation.html.jinja", **told, plots=draw_all(evaluation), steps=steps or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    path.with_suffix(".md").write_text(render("evaluation.md.jinja", **told), encoding="utf-8")
