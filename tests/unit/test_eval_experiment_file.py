"""`experiment.yaml`: what it says is what is judged, and what it can't say is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from ranking_eval.cost import GivenCost
from ranking_eval.experiment_file import choose_groups, load_experiment, load_rows_and_arms
from sail_features.cli import main
from sail_features.errors import ConfigError, EvaluationError, InputError

SPEC = {
    "name": "contrast alone",
    "frame": "data/joined.parquet",
    "arms": {
        "control": {"columns": ["price", "user_*"]},
        "treatment": {"add": ["contrast_*"]},
        "placebo": {"add": ["permuted"]},
    },
    "artefacts": [{"name": "encoder", "trained_until": "2023-12-01T00:00:00Z"}],
    "groups": {"contrast": ["contrast_mean"]},
    "eval": {"seeds": [0], "max_rounds": 20, "slices": ["kind"], "controls": False},
}


@pytest.fixture
def folder(tmp_path):
    draw, rows = np.random.default_rng(0), 3000
    mean = draw.normal(size=rows)
    frame = pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(rows)],
            "user_id": draw.integers(0, 100, rows),
            "item_id": draw.integers(0, 60, rows),
            "event_timestamp": pd.Timestamp("2024-01-01", tz="UTC")
            + pd.to_timedelta(draw.integers(0, 30 * 86_400, rows), unit="s"),
            "label": (draw.random(rows) < 1 / (1 + np.exp(-mean))).astype(int),
            "price": draw.gamma(2, 10, rows),
            "user_age": draw.integers(18, 80, rows),
            "user_count": draw.integers(0, 30, rows),
            "contrast_mean": mean,
            "contrast_max": mean + draw.normal(size=rows),
            "permuted": draw.permutation(mean),
            "kind": draw.choice(["red", "white"], rows),
        }
    )
    (tmp_path / "data").mkdir()
    frame.to_parquet(tmp_path / "data" / "joined.parquet")
    return tmp_path


def write(folder, **changes):
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({**SPEC, **changes}))
    return path


def no_store(repo):
    raise AssertionError(repo)


def load(folder, **changes):
    spec = load_experiment(write(folder, **changes))
    return spec, *load_rows_and_arms(spec, no_store)


def test_patterns_choose_columns_and_a_treatment_adds_to_control(folder):
    spec, rows, experiment = load(folder)
    control, treatment, placebo = experiment.arms
    assert control.columns == ("price", "user_age", "user_count")
    assert treatment.columns == (*control.columns, "contrast_mean", "contrast_max")
    assert placebo.columns == (*control.columns, "permuted")
    assert rows.num_rows == 3000
    assert experiment.artefacts[0].trained_until.isoformat() == "2023-12-01T00:00:00+00:00"
    assert choose_groups(spec, experiment) == {"contrast": ("contrast_mean",)}


def test_control_arms_have_their_roles_and_costs_their_groups(folder):
    arms = {**SPEC["arms"], "lagged": {"add": ["contrast_max"]}, "random": {"add": ["permuted"]}}
    costs = {"contrast": {"online_ms": 0.5}}
    spec, _, experiment = load(folder, arms=arms, costs=costs)
    names = [arm.name for arm in experiment.arms]
    assert names == ["control", "treatment", "placebo", "random", "lagged"]
    assert (experiment.random, experiment.lagged) == ("random", "lagged")
    assert spec.costs["contrast"].given() == GivenCost(online_ms=0.5)


def test_costs_of_no_group_are_refused_before_any_fit(folder, capsys):
    path = write(folder, costs={"contrst": {"online_ms": 0.5}})
    with pytest.raises(SystemExit) as stopped:
        main(["eval", "--experiment", str(path)])
    assert stopped.value.code == 1
    assert "costs of 'contrst'" in " ".join(capsys.readouterr().err.split())


def test_an_experiment_has_its_own_folder(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["eval", "--experiment", str(write(folder)), "--out", str(folder / "other")])
    assert stopped.value.code == 2
    assert "set `output:` in the file" in capsys.readouterr().err


def test_ids_times_and_labels_never_match_a_pattern(folder):
    _, _, experiment = load(folder, arms={**SPEC["arms"], "treatment": {"add": ["*"]}})
    assert not {"label", "item_id", "user_id", "request_id"} & set(experiment.arms[1].columns)


def test_the_command_writes_report_and_summary_beside_the_file(folder, capsys):
    main_exit(["eval", "--experiment", str(write(folder))])
    summary = json.loads((folder / "evaluation" / "summary.json").read_text())
    assert summary["outcome"] == "credible lift"
    assert [part["name"] for part in summary["slices"]] == ["kind: red", "kind: white"]
    assert summary["ablation"][0]["group"] == "contrast"
    assert "credible lift of" in (folder / "evaluation" / "report.html").read_text()
    assert "credible lift of" in capsys.readouterr().out


def main_exit(arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frame": None}, "give frame, or repo and impressions"),
        ({"repo": "repo", "impressions": "shown.parquet"}, "give frame, or repo and impressions"),
        ({"frame": None, "repo": "repo", "impressions": "shown.parquet"}, "arms are services"),
        ({"arms": {"control": {"columns": ["price"]}}}, "arms must be control, treatment"),
        ({"arms": {**SPEC["arms"], "control": {"add": ["price"]}}}, "control has nothing to add"),
        ({"arms": {**SPEC["arms"], "treatment": {}}}, "give one of columns, add and service"),
        ({"arms": {**SPEC["arms"], "treatment": {"service": "x"}}}, "arms are services"),
        ({"colour": "red"}, "colour"),
        ({"costs": {"contrast": {"online_ms": -1}}}, "online_ms"),
        ({"eval": {"seeds": "many"}}, "seeds"),
    ],
)
def test_what_the_file_cannot_mean_is_refused(folder, changes, words):
    with pytest.raises(ConfigError, match=words):
        load_experiment(write(folder, **changes))


def test_a_missing_file_is_named(folder):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_experiment(folder / "nowhere.yaml")
    with pytest.raises(InputError, match=r"gone\.parquet"):
        load(folder, frame="gone.parquet")


def test_a_pattern_without_a_column_names_those_there_are(folder):
    with pytest.raises(EvaluationError, match=r"interest_\*.*contrast_mean"):
        load(folder, arms={**SPEC["arms"], "treatment": {"add": ["interest_*"]}})


def test_arms_through_feast_are_services(folder, monkeypatch):
    asked = {}

    def retrieve(store, shown, services, *, lag):
        asked.update(store=store, rows=shown.num_rows, services=services, lag=lag)
        from ranking_eval import Arm

        return shown, (Arm("control", ("price",)), Arm("treatment", ("price", "contrast_mean")))

    monkeypatch.setattr("ranking_eval.retrieval.retrieve", retrieve)
    arms = {"treatment": {"service": "with"}, "control": {"service": "without"}}
    path = write(
        folder, frame=None, repo="repo", impressions="data/joined.parquet", arms=arms, lag_s=60,
        groups={},
    )  # fmt: skip
    _, experiment = load_rows_and_arms(load_experiment(path), lambda repo: f"store of {repo.name}")
    assert asked["store"] == "store of repo"
    assert list(asked["services"].items()) == [("control", "without"), ("treatment", "with")]
    assert asked["lag"].total_seconds() == 60
    assert experiment.placebo is None
