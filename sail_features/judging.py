"""From a filled feature store to a lift report: join, judge, track, write.

What ``sail-features eval`` runs, and the last part of the demo.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ranking_eval import (
    Evaluation,
    Experiment,
    TrainingNoise,
    calibrate,
    compute_verdict,
    evaluate,
)
from ranking_eval.experiment_file import choose_groups, load_experiment, load_rows_and_arms
from ranking_eval.inference import load_training_noise
from ranking_eval.report import write_report, write_study
from ranking_eval.stored import write_scores
from ranking_eval.study import StudyResult, run_study
from ranking_eval.study_file import load_rows_and_subsets, load_study
from ranking_eval.tracking import log_evaluation, log_study
from sail_features.config import SailConfig
from sail_features.feast_plugin import open_feature_store
from sail_features.judged_rows import group_columns, join_arms, price_groups
from sail_features.steps import StepMeter
from sail_features.tables import TableStore


@dataclass(frozen=True)
class Outcome:
    """What an experiment left behind; without MLflow ``run_id`` is empty."""

    evaluation: Evaluation
    summary: dict[str, Any]
    report: Path
    run_id: str


def run_experiment(
    store: TableStore,
    repo: Path,
    config: SailConfig,
    meter: StepMeter,
    *,
    notes: Sequence[str],
    ablate: bool = False,
    folder: Path | None = None,
) -> Outcome:
    """Join all arms through Feast, judge them, and write report, summary and MLflow run.

    Parameters
    ----------
    store, repo, config : the tables, the feature repository over them, the settings.
    meter : times the steps; those it already holds enter the report.
    notes : sentences for the report, such as how impressions were sampled.
    ablate : also leave out, and add alone, the columns of each match feature.
    folder : where report, summary and scores go; None takes the workspace.

    Raises
    ------
    LeakageError, EvaluationError
        The arms can't be compared, or know what they could not have known.
    """
    folder = folder or config.workspace
    folder.mkdir(parents=True, exist_ok=True)
    noise = load_training_noise(noise_path(config))
    joined, experiment = join_arms(store, repo, config, meter)
    groups = group_columns(experiment, config) if ablate else None
    with meter.step("judge") as step:
        costs = price_groups(store, list(groups or {}))
        evaluation = evaluate(joined, experiment, noise=noise, groups=groups, costs=costs)
        step.say(_count(experiment))
    return _write(evaluation, experiment, folder, tracking_uri(config), meter, notes)


def run_experiment_file(path: Path, meter: StepMeter) -> Outcome:
    """Run an ``experiment.yaml``; report and summary go to its ``output`` folder.

    Raises
    ------
    ConfigError, InputError
        The file, or the rows that it names, can't be read.
    LeakageError, EvaluationError
        The arms can't be compared, or know what they could not have known.
    """
    spec = load_experiment(path)
    with meter.step("rows") as step:
        rows, experiment = load_rows_and_arms(spec, open_feature_store)
        step.say(f"{rows.num_rows:,} rows, {rows.num_columns} columns")
    with meter.step("judge") as step:
        costs = {name: cost.given() for name, cost in spec.costs.items()}
        groups = choose_groups(spec, experiment)
        evaluation = evaluate(rows, experiment, groups=groups, costs=costs)
        step.say(_count(experiment))
    return _write(evaluation, experiment, spec.output, spec.tracking_uri, meter, ())


def run_study_file(path: Path, meter: StepMeter) -> tuple[StudyResult, Path]:
    """Run a study's ``experiment.yaml``; return what was found, and the report.

    Raises
    ------
    ConfigError, InputError
        The file, or the rows that it names, can't be read.
    LeakageError, EvaluationError
        The subsets can't be compared, or know what they could not have known.
    """
    spec = load_study(path)
    with meter.step("rows") as step:
        rows, study = load_rows_and_subsets(spec)
        step.say(f"{rows.num_rows:,} rows, {rows.num_columns} columns")
    with meter.step("study") as step:
        found = run_study(rows, study)
        step.say(f"{len(study.subsets)} subsets x {len(study.eval.seeds)} seeds")
    with meter.step("report") as step:
        report = write_study(found, study, spec.output)
        if spec.tracking_uri is not None:
            run_id = log_study(
                found,
                study,
                tracking_uri=spec.tracking_uri,
                artifacts=[report, report.with_suffix(".md")],
                tags={"git_commit": _git_commit()},
            )
            step.say(f"MLflow run {run_id[:8]}")
    return found, report


def _write(
    evaluation: Evaluation,
    experiment: Experiment,
    folder: Path,
    tracking: str | None,
    meter: StepMeter,
    notes: Sequence[str],
) -> Outcome:
    """Write report and summary into ``folder`` and, where there is a URI, an MLflow run."""
    report, run_id = folder / "report.html", ""
    with meter.step("report") as step:
        write_report(evaluation, experiment, report, steps=meter.steps, notes=notes)
        if tracking is not None:
            run_id = log_evaluation(
                evaluation,
                experiment,
                tracking_uri=tracking,
                artifacts=[report, report.with_suffix(".md")],
                tags={"git_commit": _git_commit(), "dataset": experiment.name},
            )
            step.say(f"MLflow run {run_id[:8]}")
    write_scores(evaluation, folder)
    summary = _summarise(evaluation, experiment.name, meter, notes)
    _write_json(folder / "summary.json", summary)
    return Outcome(evaluation, summary, report, run_id)


def run_calibration(
    store: TableStore, repo: Path, config: SailConfig, meter: StepMeter, *, fits: int
) -> TrainingNoise:
    """Fit control with many seeds and write how much a seed alone changes each metric.

    Later runs of `run_experiment` on the same rows and parameters read it.
    """
    joined, experiment = join_arms(store, repo, config, meter)
    with meter.step("calibrate") as step:
        noise = calibrate(joined, experiment, fits=fits)
        noise.write(noise_path(config))
        step.say(f"control fitted with {fits} seeds")
    return noise


def noise_path(config: SailConfig) -> Path:
    """Return where the workspace's training noise is kept."""
    return config.workspace / "training_noise.json"


def tracking_uri(config: SailConfig) -> str:
    """Return the address of the workspace's MLflow database."""
    return f"sqlite:///{config.workspace / 'mlflow.db'}"


def _count(experiment: Experiment) -> str:
    sizes = " / ".join(str(len(arm.columns)) for arm in experiment.arms)
    return f"{len(experiment.arms)} arms x {len(experiment.eval.seeds)} seeds, {sizes} columns"


def _summarise(
    evaluation: Evaluation, dataset: str, meter: StepMeter, notes: Sequence[str]
) -> dict[str, Any]:
    found, verdict = evaluation.summary(), compute_verdict(evaluation)
    return {
        "dataset": dataset,
        "outcome": verdict.outcome.value,
        "verdict": verdict.sentence,
        **found,
        "notes": [*found["notes"], *notes],
        "steps": meter.steps,
        "seconds": round(sum(step["seconds"] for step in meter.steps.values()), 2),
        "peak_gb": meter.peak_gb,
    }


def _write_json(path: Path, value: Any) -> None:
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    unfinished.rename(path)


def _git_commit() -> str:
    """Return the commit of the working directory, ``unknown`` outside of git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
