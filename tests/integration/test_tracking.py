"""An evaluation in a real MLflow, on SQLite."""

from __future__ import annotations

import multiprocessing
import os
import signal

import numpy as np
import pandas as pd
import pytest

from ranking_eval import Arm, Experiment, GivenCost, Study, Subset, evaluate, run_study
from sail_features.config import EvalConfig

mlflow = pytest.importorskip("mlflow")

from ranking_eval.tracking import log_evaluation, log_study  # noqa: E402

ARMS = (
    Arm("control", ("ctr",)),
    Arm("treatment", ("ctr", "match"), service="ranker_treatment"),
    Arm("placebo", ("ctr", "noise")),
)
EXPERIMENT = Experiment(
    "shop", ARMS, EvalConfig(seeds=(0, 1), max_rounds=20, params={"num_leaves": 7})
)


@pytest.fixture(scope="module")
def evaluation():
    return make_evaluation()


def make_evaluation():
    return evaluate(make_frame(), EXPERIMENT)


def make_frame():
    draw = np.random.default_rng(0)
    rows = 1500
    features = {name: draw.normal(size=rows) for name in ("ctr", "match", "noise")}
    odds = np.exp(features["ctr"] + features["match"])
    shown_at = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="min")
    return pd.DataFrame(
        {
            "request_id": np.arange(rows),
            "user_id": draw.integers(0, 50, rows),
            "item_id": draw.integers(0, 50, rows),
            "event_timestamp": shown_at,
            "label": (draw.random(rows) < odds / (1 + odds)).astype(int),
            **features,
        }
    )


@pytest.fixture(scope="module")
def logged(evaluation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    report = folder / "report.html"
    report.write_text("<p>report</p>", encoding="utf-8")
    uri = f"sqlite:///{folder / 'db' / 'mlflow.db'}"
    run_id = log_evaluation(
        evaluation, EXPERIMENT, tracking_uri=uri, artifacts=[report], tags={"git": "abc"}
    )
    return mlflow.MlflowClient(uri), run_id, folder


def runs_of(client, run_id):
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'")
    return {run.info.run_name: run for run in found}


def test_the_parent_run_holds_differences_parameters_and_tags(logged, evaluation):
    client, run_id, _ = logged
    run = client.get_run(run_id)
    assert run.data.metrics["lift/auc/delta"] == pytest.approx(evaluation.lift["auc"].delta)
    assert (
        run.data.metrics["placebo/grouped_auc/low"] < run.data.metrics["placebo/grouped_auc/high"]
    )
    assert run.data.params["lightgbm/num_leaves"] == "7"
    assert run.data.params["seeds"] == "[0, 1]"
    assert run.data.tags["git"] == "abc"
    assert "AUC" in run.data.tags["verdict"]
    assert run.inputs.dataset_inputs[0].dataset.digest == evaluation.fingerprint[:36]


def test_each_arm_is_a_nested_run_with_a_metric_a_seed(logged, evaluation):
    client, run_id, _ = logged
    arms = runs_of(client, run_id)
    assert set(arms) == {"control", "treatment", "placebo"}
    treatment = arms["treatment"]
    assert treatment.data.tags["service"] == "ranker_treatment"
    steps = client.get_metric_history(treatment.info.run_id, "seed/auc")
    by_seed = evaluation.arms["treatment"].seed_metrics["auc"]
    assert {step.step: step.value for step in steps} == pytest.approx(dict(enumerate(by_seed)))


def test_report_and_figures_lie_beside_the_database(logged):
    client, run_id, folder = logged
    names = {file.path for file in client.list_artifacts(run_id)}
    assert {"report.html", "summary.json", "figures"} <= names
    assert list((folder / "db" / "mlartifacts").rglob("report.html"))


def test_the_logged_model_scores_as_the_judged_one(logged, evaluation):
    client, run_id, _ = logged
    run = runs_of(client, run_id)["control"]
    model = mlflow.lightgbm.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    assert model.model_to_string() == evaluation.arms["control"].fit.model


def test_the_same_evaluation_is_logged_once(logged, evaluation):
    client, run_id, folder = logged
    uri = f"sqlite:///{folder / 'db' / 'mlflow.db'}"
    before = runs_of(client, run_id).keys()
    assert log_evaluation(evaluation, EXPERIMENT, tracking_uri=uri, tags={"git": "abc"}) == run_id
    assert runs_of(client, run_id).keys() == before


def test_learning_curves_are_metrics_by_round(logged, evaluation):
    client, run_id, _ = logged
    run = runs_of(client, run_id)["treatment"]
    points = client.get_metric_history(run.info.run_id, "learning/validation_auc")
    curve = evaluation.curves["treatment"].learning
    assert [(one.step, one.value) for one in points] == list(
        zip(curve.rounds.tolist(), curve.auc.tolist(), strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("dies_in", ["parent", "arm"])
def test_a_run_killed_halfway_is_finished_without_duplicates(evaluation, tmp_path, dies_in):
    """Killed while the parent's figures are drawn, or before the second arm's model is kept."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    process = multiprocessing.get_context("spawn").Process(target=log_and_die, args=(uri, dies_in))
    process.start()
    process.join(timeout=300)
    assert process.exitcode == -signal.SIGKILL

    run_id = log_evaluation(evaluation, EXPERIMENT, tracking_uri=uri)
    client = mlflow.MlflowClient(uri)
    home = client.get_run(run_id).info.experiment_id
    runs = client.search_runs([home])
    assert sorted(run.info.run_name for run in runs) == ["control", "placebo", "shop", "treatment"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_logged_models([home])) == 3
    for run in runs:
        for name in run.data.metrics:
            steps = [one.step for one in client.get_metric_history(run.info.run_id, name)]
            assert len(steps) == len(set(steps)), (run.info.run_name, name)


def log_and_die(uri, place):
    from ranking_eval import tracking

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    if place == "parent":
        tracking.draw_all = die
    keep, kept = tracking.mlflow.lightgbm.log_model, []

    def keep_one(*arguments, **options):
        if kept:
            die()
        kept.append(keep(*arguments, **options))

    tracking.mlflow.lightgbm.log_model = keep_one
    log_evaluation(make_evaluation(), EXPERIMENT, tracking_uri=uri)


def test_a_study_is_a_run_with_a_nested_run_a_subset(logged):
    _, _, folder = logged
    uri = f"sqlite:///{folder / 'db' / 'mlflow.db'}"
    subsets = (Subset("none"), Subset("both", ("match", "noise"), GivenCost(online_ms=0.5)))
    study = Study("inputs", ("ctr",), subsets, EXPERIMENT.eval)
    found = run_study(make_frame(), study)
    run_id = log_study(found, study, tracking_uri=uri, tags={"git": "abc"})
    client = mlflow.MlflowClient(uri)
    parent, nested = client.get_run(run_id).data, runs_of(client, run_id)
    assert parent.metrics["auc"] == found.control["auc"]
    assert parent.tags["git"] == "abc"
    assert set(nested) == {"none", "both"}
    both = nested["both"].data.metrics
    assert both["lift/auc/delta"] == found.gains()["both"].delta
    assert (both["cost/online_ms"], both["cost/bytes_per_row"]) == (0.5, 16)
    assert nested["none"].data.metrics["auc"] == found.control["auc"]


def test_a_second_evaluation_joins_the_same_experiment(logged, evaluation):
    client, run_id, folder = logged
    uri = f"sqlite:///{folder / 'db' / 'mlflow.db'}"
    again = log_evaluation(evaluation, EXPERIMENT, tracking_uri=uri)
    assert client.get_run(again).info.experiment_id == client.get_run(run_id).info.experiment_id
