"""The report: one HTML file that needs no network and can be sent to anyone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined

from ranking_eval.evaluation import Evaluation
from ranking_eval.experiment import Experiment
from ranking_eval.formats import format_delta
from ranking_eval.plots import METRIC_NAMES, draw_all, list_comparisons
from ranking_eval.verdict import compute_verdict

TEMPLATE: Final = "report.html.jinja"

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
    path : file to write; its folder is made.
    steps : seconds and peak_gb of each step that led here, by its name.
    notes : sentences to add to the evaluation's own, such as how rows were sampled.

    Notes
    -----
    Names are escaped, in plots by matplotlib: a column called ``<script>`` is shown
    as such.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters.update(delta=format_delta, figure=format_figure)
    text = environment.get_template(TEMPLATE).render(
        found=evaluation,
        experiment=experiment,
        verdict=compute_verdict(evaluation),
        comparisons=list_comparisons(evaluation),
        metric_names=METRIC_NAMES,
        plots=draw_all(evaluation),
        steps=steps or {},
        notes=[*evaluation.notes, *notes],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def format_figure(value: float | Undefined | None, pattern: str) -> str:
    """Write a figure by a printf pattern, and a missing one as a dash."""
    return "-" if value is None or isinstance(value, Undefined) else pattern % value
