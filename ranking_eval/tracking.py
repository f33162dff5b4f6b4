"""An evaluation in MLflow: one parent run, and a nested run for each arm."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it when it is imported

import lightgbm as lgb
import mlflow
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset

from ranking_eval.evaluation import ArmResult, Evaluation
from ranking_eval.experiment import Arm, Experiment
from ranking_eval.plots import draw_all
from ranking_eval.verdict import compute_verdict

REQUIREMENTS: Final = (f"lightgbm=={lgb.__version__}",)
"""Given with each model: to infer them takes MLflow half a minute a model."""
NOISE: Final = (
    ".*Any type hint is inferred as AnyType",
    ".*noload.* loader strategy is deprecated",
)
"""Warnings that MLflow causes in its own code, and its users can do nothing about."""
NOISY_LOGGERS: Final = ("mlflow.store.db.utils", "alembic.runtime.migration")
"""They tell each table of a new database, which belongs on nobody's terminal."""
SQLITE: Final = "sqlite:///"
DIGEST_LENGTH: Final = 36
"""The longest fingerprint of a data set that MLflow stores."""


def log_evaluation(
    evaluation: Evaluation,
    experiment: Experiment,
    *,
    tracking_uri: str,
    artifacts: Sequence[Path] = (),
    tags: Mapping[str, str] | None = None,
) -> str:
    """Log an evaluation as a parent run with a nested run an arm; return the parent's id.

    Parameters
    ----------
    evaluation : what was found.
    experiment : what was asked; its name is that of the MLflow experiment.
    tracking_uri : such as ``sqlite:///build/mlflow.db``; artefacts then lie in
        ``mlartifacts`` beside the database.
    artifacts : files to attach to the parent run, such as the HTML report.
    tags : to add to the parent run, such as the git commit.

    Notes
    -----
    Logged are parameters, each difference with its interval, the metrics of
    every arm and seed, figures, the fingerprint of the rows, and the model of
    each arm's first seed. About two seconds, and twenty more when the database
    has to be made first.
    """
    with warnings.catch_warnings():
        for words in NOISE:
            warnings.filterwarnings("ignore", words)
        return _log(evaluation, experiment, tracking_uri, artifacts, tags or {})


def _log(
    evaluation: Evaluation,
    experiment: Experiment,
    tracking_uri: str,
    artifacts: Sequence[Path],
    tags: Mapping[str, str],
) -> str:
    for logger in NOISY_LOGGERS:
        logging.getLogger(logger).setLevel(logging.WARNING)
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment(experiment_id=_find_experiment(experiment.name, tracking_uri))
    with mlflow.start_run(run_name=experiment.name) as parent:
        verdict = compute_verdict(evaluation)
        judged = {"verdict": verdict.sentence, "outcome": verdict.outcome.value}
        mlflow.set_tags({**judged, **tags})
        mlflow.log_params(_describe(experiment))
        mlflow.log_metrics(_collect_lifts(evaluation))
        mlflow.log_dict(evaluation.summary(), "summary.json")
        mlflow.log_input(_describe_rows(evaluation, experiment), context="evaluation")
        for name, svg in draw_all(evaluation).items():
            mlflow.log_text(svg, f"figures/{name.replace(' ', '_')}.svg")
        for path in artifacts:
            mlflow.log_artifact(str(path))
        for arm in experiment.arms:
            _log_arm(arm, evaluation.arms[arm.name], experiment.eval.ranker)
    return str(parent.info.run_id)


def _log_arm(arm: Arm, result: ArmResult, ranker: str) -> None:
    with mlflow.start_run(run_name=arm.name, nested=True):
        mlflow.set_tags({"arm": arm.name, "service": arm.service or ""})
        mlflow.log_params({"columns": len(arm.columns)})
        mlflow.log_dict(dict(result.fit.importance), "importance.json")
        mlflow.log_metrics({**result.metrics, "fit_seconds": result.fit.seconds})
        for seed, rounds in enumerate(result.fit.best_iterations):
            of_seed = {f"seed/{name}": values[seed] for name, values in result.seed_metrics.items()}
            mlflow.log_metrics({**of_seed, "seed/best_iteration": rounds}, step=seed)
        if ranker != "lightgbm":
            mlflow.log_text(result.fit.model, "ranker.json")
            return
        mlflow.lightgbm.log_model(
            lgb.Booster(model_str=result.fit.model),
            name="ranker",
            pip_requirements=list(REQUIREMENTS),
        )


def _find_experiment(name: str, tracking_uri: str) -> str:
    """Return the id of the MLflow experiment of this name, made if there is none."""
    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if tracking_uri.startswith(SQLITE):
        database = Path(tracking_uri.removeprefix(SQLITE)).resolve()
        database.parent.mkdir(parents=True, exist_ok=True)
        location = (database.parent / "mlartifacts").as_uri()
    return str(mlflow.create_experiment(name, artifact_location=location))


def _describe(experiment: Experiment) -> dict[str, object]:
    ranker = {f"lightgbm/{name}": value for name, value in experiment.eval.params.items()}
    return {
        **experiment.eval.model_dump(mode="json", exclude={"params"}),
        **ranker,
        "arms": ", ".join(arm.name for arm in experiment.arms),
        "artefacts": ", ".join(f"{a.name} until {a.trained_until}" for a in experiment.artefacts),
    }


def _collect_lifts(evaluation: Evaluation) -> dict[str, float]:
    comparisons = {
        "lift": evaluation.lift,
        "placebo": evaluation.placebo,
        "lift_over_placebo": evaluation.lift_over_placebo,
    }
    return {
        f"{comparison}/{metric}/{figure}": getattr(lift, figure)
        for comparison, lifts in comparisons.items()
        for metric, lift in lifts.items()
        for figure in ("delta", "low", "high", "standard_error")
    }


def _describe_rows(evaluation: Evaluation, experiment: Experiment) -> MetaDataset:
    source = CodeDatasetSource(tags={"rows": str(evaluation.rows), "users": str(evaluation.users)})
    digest = evaluation.fingerprint[:DIGEST_LENGTH]
    return MetaDataset(source, name=experiment.name, digest=digest)
