"""Two stored runs: compared on the same rows, refused on others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ranking_eval import Arm, Experiment, evaluate
from ranking_eval.inference import REPORTED
from ranking_eval.stored import compare_runs, write_scores
from sail_features.cli import main
from sail_features.config import EvalConfig
from sail_features.errors import EvaluationError

CONFIG = EvalConfig(seeds=(0, 1), max_rounds=40, controls=False)


def make_frame(rows=3000, seed=0):
    draw = np.random.default_rng(seed)
    weak, strong = draw.normal(size=rows), draw.normal(size=rows)
    return pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(rows)],
            "user_id": draw.integers(0, 100, rows),
            "item_id": draw.integers(0, 60, rows),
            "event_timestamp": pd.Timestamp("2024-01-01", tz="UTC")
            + pd.to_timedelta(draw.integers(0, 30 * 86_400, rows), unit="s"),
            "label": (draw.random(rows) < 1 / (1 + np.exp(-0.3 * weak - strong))).astype(int),
            "base": draw.normal(size=rows),
            "weak": weak,
            "strong": strong,
        }
    )


def run(folder, column, frame=None, config=CONFIG):
    arms = (Arm("control", ("base",)), Arm("treatment", ("base", column)))
    found = evaluate(
        make_frame() if frame is None else frame, Experiment(column, arms, config, placebo=None)
    )
    folder.mkdir()
    write_scores(found, folder)
    return folder, found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return run(root / "weak", "weak"), run(root / "strong", "strong")


def test_the_better_treatment_of_two_runs_is_found(runs):
    (weak, of_weak), (strong, of_strong) = runs
    lifts = compare_runs(weak, strong)
    auc = [found.arms["treatment"].metrics["auc"] for found in (of_weak, of_strong)]
    assert lifts["auc"].delta == pytest.approx(auc[1] - auc[0])
    assert lifts["auc"].low > 0
    assert lifts["log_loss"].high < 0
    back = compare_runs(strong, weak)["auc"]
    assert (back.low, back.high) == pytest.approx((-lifts["auc"].high, -lifts["auc"].low))


def test_the_same_control_of_two_runs_differs_by_nothing(runs):
    (weak, _), (strong, _) = runs
    lift = compare_runs(weak, strong, arm="control")["auc"]
    assert lift.delta == 0


def test_the_command_prints_each_metric(runs, capsys):
    (weak, _), (strong, _) = runs
    with pytest.raises(SystemExit) as stopped:
        main(["eval", "compare", str(weak), str(strong)])
    assert stopped.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(REPORTED)


def relabelled():
    frame = make_frame()
    frame.loc[frame["event_timestamp"].argmax(), "label"] ^= 1
    return frame


@pytest.mark.parametrize(
    ("frame", "config", "words"),
    [
        (make_frame(rows=2900), CONFIG, "test rows against"),
        (relabelled(), CONFIG, "label of the test rows differs"),
        (make_frame(), CONFIG.model_copy(update={"seeds": (0,)}), "2 seeds against 1"),
    ],
)
def test_runs_on_other_rows_are_refused(runs, tmp_path, frame, config, words):
    other, _ = run(tmp_path / "other", "weak", frame, config)
    with pytest.raises(EvaluationError, match=words):
        compare_runs(runs[0][0], other)


def test_a_folder_without_scores_and_an_unknown_arm_are_named(runs, tmp_path):
    (weak, _), (strong, _) = runs
    with pytest.raises(EvaluationError, match="no test scores"):
        compare_runs(weak, tmp_path)
    with pytest.raises(EvaluationError, match=r"no arm 'placebo'; it has control, treatment"):
        compare_runs(weak, strong, arm="placebo")
