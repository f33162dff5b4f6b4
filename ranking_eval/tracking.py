"""An evaluation in MLflow: one parent run, and a nested run for each arm.

An evaluation is logged once. Its parent run carries a key of what it is of, so that after
a crash the same call goes on with the same run, and a repeated one adds nothing.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it when it is imported

import lightgbm as lgb
import mlflow
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Run

from ranking_eval.cost import Cost
from ranking_eval.curves import LearningCurve
from ranking_eval.evaluation import Evaluation
from ranking_eval.experiment import Arm, Experiment
from ranking_eval.inference import Lifts
from ranking_eval.plots import draw_all
from ranking_eval.study import Study, StudyResult
from ranking_eval.verdict import compute_verdict
from sail_features.manifest import sha256_of

REQUIREMENTS: Final = (f"lightgbm=={lgb.__version__}",)
"""Given with each model: to infer them takes MLflow half a minute a model."""
NOISE: Final = (
    ".*Any type hint is inferred as AnyType",
    ".*noload.* loader strategy is deprecated",
)
"""Warnings that MLflow causes in its own code, and its users can do nothing about."""
NOISY_LOGGERS: Final = ("mlflow.store.db.utils", "alembic.runtime.migration")
"""They tell each table of a new database, which belongs on nobody's terminal."""
KEY: Final = "evaluation_key"
"""Tag of the parent run."""
FINISHED: Final = "FINISHED"
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
    every arm and seed, learning curves, figures, the fingerprint of the rows, and
    the model of each arm's first seed. About two seconds, and twenty more when the
    database has to be made first.

    A run of the same evaluation and tags is returned as it is where it is finished, and
    finished where it was killed: arms that are complete stay, half an arm is deleted and
    logged anew.
    """
    with _quietly():
        return _log(evaluation, experiment, tracking_uri, artifacts, tags or {})


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what MLflow says of its own code and tables."""
    for logger in NOISY_LOGGERS:
        logging.getLogger(logger).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for words in NOISE:
            warnings.filterwarnings("ignore", words)
        yield


def log_study(
    found: StudyResult,
    study: Study,
    *,
    tracking_uri: str,
    artifacts: Sequence[Path] = (),
    tags: Mapping[str, str] | None = None,
) -> str:
    """Log a study as a parent run with a nested run a subset; return the parent's id.

    Parameters are those of `log_evaluation`; the name of the MLflow experiment is the
    study's.
    """
    with _quietly():
        home = _open_experiment(study.name, tracking_uri)
        with mlflow.start_run(run_name=study.name, experiment_id=home, tags=tags) as parent:
            mlflow.log_params(_describe(study.as_experiment()))
            mlflow.log_metrics(dict(found.control))
            mlflow.log_dict(found.summary(), "summary.json")
            for path in artifacts:
                mlflow.log_artifact(str(path))
            for one in found.subsets:
                with mlflow.start_run(run_name=one.name, nested=True, tags={"arm": one.name}):
                    mlflow.log_metrics({**one.metrics, **_name_costs(one.cost)})
                    mlflow.log_metrics(_name_figures("lift", one.lift))
    return str(parent.info.run_id)


def _name_costs(cost: Cost) -> dict[str, float]:
    return {f"cost/{name}": value for name, value in cost.known().items()}


def _log(
    evaluation: Evaluation,
    experiment: Experiment,
    tracking_uri: str,
    artifacts: Sequence[Path],
    tags: Mapping[str, str],
) -> str:
    home = _open_experiment(experiment.name, tracking_uri)
    key = _compute_key(evaluation, experiment, tags)
    found = mlflow.MlflowClient().search_runs([home], f"tags.{KEY} = '{key}'")
    logged = found[0] if found else None
    if logged is not None and logged.info.status == FINISHED:
        return str(logged.info.run_id)
    with mlflow.start_run(
        run_id=None if logged is None else logged.info.run_id,
        run_name=experiment.name,
        tags={KEY: key},
    ) as parent:
        verdict = compute_verdict(evaluation)
        judged = {"verdict": verdict.sentence, "outcome": verdict.outcome.value}
        mlflow.set_tags({**judged, **tags})
        mlflow.log_params(_describe(experiment))
        known = parent.data.metrics
        lifts = _collect_lifts(evaluation)
        mlflow.log_metrics({name: value for name, value in lifts.items() if name not in known})
        mlflow.log_dict(evaluation.summary(), "summary.json")
        mlflow.log_input(_describe_rows(evaluation, experiment), context="evaluation")
        for name, svg in draw_all(evaluation).items():
            mlflow.log_text(svg, f"figures/{name.replace(' ', '_')}.svg")
        for path in artifacts:
            mlflow.log_artifact(str(path))
        for arm in experiment.arms:
            if not _is_logged(arm, parent):
                _log_arm(arm, evaluation, experiment.eval.ranker)
    return str(parent.info.run_id)


def _is_logged(arm: Arm, parent: Run) -> bool:
    """Say whether an arm's run is complete; delete it where it isn't."""
    client, experiment_id = mlflow.MlflowClient(), parent.info.experiment_id
    nested = f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    runs = client.search_runs([experiment_id], nested)
    mine = [run for run in runs if run.data.tags.get("arm") == arm.name]
    for run in mine:
        if run.info.status == FINISHED:
            return True
        of_run = f"source_run_id = '{run.info.run_id}'"
        for model in client.search_logged_models([experiment_id], of_run):
            client.delete_logged_model(model.model_id)
        client.delete_run(run.info.run_id)
    return False


def _log_arm(arm: Arm, evaluation: Evaluation, ranker: str) -> None:
    result = evaluation.arms[arm.name]
    tags = {"arm": arm.name, "service": arm.service or ""}
    with mlflow.start_run(run_name=arm.name, nested=True, tags=tags):
        mlflow.log_params({"columns": len(arm.columns)})
        mlflow.log_dict(dict(result.fit.importance), "importance.json")
        mlflow.log_metrics({**result.metrics, "fit_seconds": result.fit.seconds})
        for seed, rounds in enumerate(result.fit.best_iterations):
            of_seed = {f"seed/{name}": values[seed] for name, values in result.seed_metrics.items()}
            mlflow.log_metrics({**of_seed, "seed/best_iteration": rounds}, step=seed)
        _log_learning(evaluation.curves[arm.name].learning)
        if ranker != "lightgbm":
            mlflow.log_text(result.fit.model, "ranker.json")
            return
        mlflow.lightgbm.log_model(
            lgb.Booster(model_str=result.fit.model),
            name="ranker",
            pip_requirements=list(REQUIREMENTS),
        )


def _log_learning(curve: LearningCurve | None) -> None:
    if curve is None:
        return
    now = int(time.time() * 1000)
    points = zip(curve.auc.tolist(), curve.rounds.tolist(), strict=True)
    metrics = [Metric("learning/validation_auc", value, now, step) for value, step in points]
    mlflow.MlflowClient().log_batch(mlflow.active_run().info.run_id, metrics=metrics)


def _compute_key(evaluation: Evaluation, experiment: Experiment, tags: Mapping[str, str]) -> str:
    """Return what tells one evaluation from another: settings, rows, all results, and tags."""
    arms = [(arm.name, arm.columns) for arm in experiment.arms]
    verdict = compute_verdict(evaluation).sentence
    return sha256_of([evaluation.summary(), verdict, _describe(experiment), arms, dict(tags)])


def _open_experiment(name: str, tracking_uri: str) -> str:
    """Turn to the MLflow experiment of this name, made if there is none; return its id."""
    mlflow.set_tracking_uri(tracking_uri)
    found = mlflow.get_experiment_by_name(name)
    home = found.experiment_id if found else _make_experiment(name, tracking_uri)
    mlflow.set_experiment(experiment_id=home)
    return str(home)


def _make_experiment(name: str, tracking_uri: str) -> str:
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
    for role, arm in evaluation.control_arms.items():
        comparisons |= {role: arm.lift, f"lift_over_{role}": arm.treatment_over}
    found: dict[str, float] = {}
    for comparison, lifts in comparisons.items():
        found |= _name_figures(comparison, lifts)
    return found


def _name_figures(comparison: str, lifts: Lifts) -> dict[str, float]:
    return {
        f"{comparison}/{metric}/{figure}": getattr(lift, figure)
        for metric, lift in lifts.items()
        for figure in ("delta", "low", "high", "standard_error")
    }


def _describe_rows(evaluation: Evaluation, experiment: Experiment) -> MetaDataset:
    source = CodeDatasetSource(tags={"rows": str(evaluation.rows), "users": str(evaluation.users)})
    digest = evaluation.fingerprint[:DIGEST_LENGTH]
    return MetaDataset(source, name=experiment.name, digest=digest)
