"""Loss curves of training, and how the measures changed, in MLflow.

MLflow is imported where it is used: loading it takes seconds.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sail_features.training.loop import StepReport

EXPERIMENT: Final = "sail-features train"
NOISE: Final = (
    ".*Any type hint is inferred as AnyType",
    ".*noload.* loader strategy is deprecated",
)
"""Warnings that MLflow causes in its own code, and its users can do nothing about."""
NOISY_LOGGERS: Final = ("mlflow.store.db.utils", "alembic.runtime.migration")
"""They tell each table of a new database, which belongs on nobody's terminal."""
EVERY: Final = 10
"""Steps between two points of a curve: the database takes milliseconds for each."""


@contextmanager
def tracked_stage(
    database: Path | None, stage: str, described: Mapping[str, Any]
) -> Iterator[Callable[[StepReport], None]]:
    """Log one stage as a run; yield what is to be told of each step.

    Parameters
    ----------
    database : an SQLite file, made if there is none; None logs nothing.
    described : the stage's settings, at most two levels deep.
    """
    if database is None:
        yield lambda report: None
        return
    mlflow = _open(database)
    with mlflow.start_run(run_name=stage):
        mlflow.log_params(_flatten(described))

        def log(report: StepReport) -> None:
            if report.step % EVERY == 0 or report.step + 1 == report.steps:
                mlflow.log_metrics(_figures(report), step=report.step)

        yield log


def log_measures(database: Path, stages: Mapping[str, Mapping[str, float]]) -> None:
    """Log what was measured before and after each stage, as curves over the stages."""
    mlflow = _open(database)
    with mlflow.start_run(run_name="embedding"):
        mlflow.log_params({f"step {step}": name for step, name in enumerate(stages)})
        for step, measured in enumerate(stages.values()):
            metrics = {name.replace("@", " at "): value for name, value in measured.items()}
            mlflow.log_metrics(metrics, step=step)


def _open(database: Path) -> Any:
    """Return MLflow, pointed at the database's experiment."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
    with warnings.catch_warnings():
        for words in NOISE:
            warnings.filterwarnings("ignore", words)
        return _connect(database)


def _connect(database: Path) -> Any:
    import mlflow

    for logger in NOISY_LOGGERS:
        logging.getLogger(logger).setLevel(logging.WARNING)
    database.parent.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{database.resolve()}")
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        artefacts = database.resolve().parent / "mlartifacts"
        mlflow.create_experiment(EXPERIMENT, artifact_location=artefacts.as_uri())
    mlflow.set_experiment(EXPERIMENT)
    return mlflow


def _figures(report: StepReport) -> dict[str, float]:
    losses = {f"{report.objective}/{name}": value for name, value in report.losses.items()}
    return {
        **losses,
        "gradient_norm": report.gradient_norm,
        "learning_rate": report.learning_rate,
    }


def _flatten(described: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in described.items():
        parts = value if isinstance(value, Mapping) else {"": value}
        found.update({f"{key}/{part}".rstrip("/"): one for part, one in parts.items()})
    return found
