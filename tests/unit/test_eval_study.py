"""Studies of input subsets: what each gains and costs, and control reproduced exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import yaml

from ranking_eval import study as studies
from ranking_eval.cost import GivenCost
from ranking_eval.study import Study, Subset, run_study
from ranking_eval.study_file import is_study, load_rows_and_subsets, load_study
from sail_features.cli import main
from sail_features.config import EvalConfig
from sail_features.errors import ConfigError, EvaluationError

CONFIG = EvalConfig(seeds=(0, 1), max_rounds=40, early_stopping_rounds=10, slices=())
HOSTILE = "<b>title</b> | & description"
STUDY = Study(
    "inputs",
    ("price",),
    (
        Subset("none"),
        Subset("title", ("title__max",), GivenCost(encode_s_per_1k_items=1.0)),
        Subset("noise", ("noise",), GivenCost(encode_s_per_1k_items=2.0)),
        Subset(HOSTILE, ("title__max", "text__max"), GivenCost(encode_s_per_1k_items=5.0)),
    ),
    CONFIG,
)


@pytest.fixture(scope="module")
def frame():
    draw, rows = np.random.default_rng(0), 4000
    price, title, text, noise = draw.normal(size=(4, rows))
    log_odds = 0.4 * price + 0.9 * title + 0.9 * text
    return pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(rows)],
            "user_id": draw.integers(0, 150, rows),
            "item_id": draw.integers(0, 60, rows),
            "event_timestamp": pd.Timestamp("2024-01-01", tz="UTC")
            + pd.to_timedelta(draw.integers(0, 30 * 86_400, rows), unit="s"),
            "label": (draw.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(int),
            "price": price,
            "title__max": title,
            "text__max": text,
            "noise": noise,
        }
    )


@pytest.fixture(scope="module")
def found(frame):
    return run_study(frame, STUDY)


def test_the_empty_subset_is_control_to_the_last_bit(found):
    none = found.subsets[0]
    assert none.metrics == found.control
    assert {lift.delta for lift in none.lift.values()} == {0}
    assert "none: reproduces control's scores to the last bit" in found.checks


def test_subsets_gain_what_their_inputs_know(found):
    none, title, noise, both = found.subsets
    assert title.lift["auc"].low > 0.02
    assert title.adjusted_p < 0.05 < noise.adjusted_p
    assert both.lift["auc"].delta > title.lift["auc"].delta + 0.02
    assert (none.columns, both.columns) == (0, 2)
    assert found.suspicions == ()


def test_the_front_holds_what_nothing_cheaper_matches(found):
    assert "noise" not in found.best_buys
    assert {"title", HOSTILE} <= set(found.best_buys)
    assert [one.cost.bytes_per_row for one in found.subsets] == [0, 8, 8, 16]


def test_a_subset_that_does_not_reproduce_control_stops_the_study(frame, monkeypatch):
    fit, fits = studies.fit_arm, []

    def drift(setting, arm, config):
        trial = fit(setting, arm, config)
        fits.append(arm.name)
        if arm.name != "none":
            return trial
        return trial._replace(fit=replace(trial.fit, scores=trial.fit.scores * 0.999))

    monkeypatch.setattr(studies, "fit_arm", drift)
    with pytest.raises(EvaluationError, match="subset 'none': has control's columns and other"):
        run_study(frame, STUDY)


def test_a_study_without_a_column_compares_nothing():
    with pytest.raises(EvaluationError, match="no subset has a column"):
        Study("inputs", ("price",), (Subset("none"),), CONFIG)


class TestFile:
    SPEC: ClassVar = {
        "name": "inputs",
        "frame": "joined.parquet",
        "control": ["price"],
        "subsets": {
            "none": {},
            HOSTILE: {"add": ["title__*", "text__*"], "cost": {"online_ms": 0.5}},
        },
        "eval": {"seeds": [0], "max_rounds": 20, "slices": []},
    }

    @pytest.fixture
    def path(self, frame, tmp_path):
        frame.to_parquet(tmp_path / "joined.parquet")
        return self.write(tmp_path)

    def write(self, folder, **changes):
        path = folder / "experiment.yaml"
        path.write_text(yaml.safe_dump({**self.SPEC, **changes}, sort_keys=False))
        return path

    def test_patterns_choose_the_columns_of_a_subset(self, path):
        assert is_study(path)
        _, study = load_rows_and_subsets(load_study(path))
        assert study.subsets == (
            Subset("none"),
            Subset(HOSTILE, ("title__max", "text__max"), GivenCost(online_ms=0.5)),
        )

    def test_the_command_writes_report_and_summary(self, path, capsys):
        with pytest.raises(SystemExit) as stopped:
            main(["eval", "--experiment", str(path)])
        assert stopped.value.code == 0
        folder = path.parent / "study"
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["subsets"][HOSTILE]["lift"]["auc"]["low"] > 0
        assert summary["headline"].startswith(f"{HOSTILE} gains the most")
        page, text = ((folder / f"report.{kind}").read_text() for kind in ("html", "md"))
        assert "<b>title" not in page
        assert "&lt;b&gt;title" in page
        assert r"\<b\>title\</b\> \| & description" in text
        assert "AUC gained" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("changes", "words"),
        [({"control": []}, "control"), ({"arms": {}}, "arms"), ({"subsets": {}}, "subsets")],
    )
    def test_what_the_file_cannot_mean_is_refused(self, tmp_path, changes, words):
        with pytest.raises(ConfigError, match=words):
            load_study(self.write(tmp_path, **changes))

    def test_a_pattern_without_a_column_is_refused(self, path):
        wrong = self.write(path.parent, subsets={"sound": {"add": ["sound__*"]}})
        with pytest.raises(EvaluationError, match=r"'sound': .*sound__\*"):
            load_rows_and_subsets(load_study(wrong))
