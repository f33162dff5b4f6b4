"""Calibration and the evaluation after it, from the tables to the summary, without a join."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from ranking_eval import Arm, GivenCost
from sail_features import judged_rows, judging
from sail_features.config import EvalConfig, SailConfig
from sail_features.steps import StepMeter

ARMS = (
    Arm("control", ("ctr",)),
    Arm("treatment", ("ctr", "match")),
    Arm("placebo", ("ctr", "shuffled")),
)


class Impressions:
    """The one table that judging reads itself."""

    joins = 0

    def __init__(self, rows=2500):
        draw = np.random.default_rng(0)
        self.ctr, self.match = draw.normal(size=(2, rows))
        self.table = pa.table(
            {
                "request_id": [f"r{row // 2}" for row in range(rows)],
                "user_id": [f"u{row}" for row in draw.integers(0, 80, rows)],
                "item_id": [f"i{row}" for row in range(rows)],
                "session_id": [f"s{row // 4}" for row in range(rows)],
                "event_timestamp": pd.date_range("2024-01-01", periods=rows, freq="h", tz="UTC"),
                "label": (draw.random(rows) < 1 / (1 + np.exp(-self.ctr - self.match))).astype(int),
                "position": draw.integers(0, 5, rows),
            }
        )

    def read(self, table):
        return self.table

    def latest(self, table):
        return SimpleNamespace(lineage={"dataset": "shop"}, notes=())

    def covering(self, table):
        return ()

    manifests = covering


@pytest.fixture
def store(monkeypatch):
    impressions = Impressions()

    def join(feast, rows, services, *, lag):
        assert "position" not in rows.column_names
        impressions.joins += 1
        for name in ("ctr", "match"):
            rows = rows.append_column(name, pa.array(getattr(impressions, name)))
        shuffled = np.random.default_rng(1).permutation(impressions.match)
        return rows.append_column("shuffled", pa.array(shuffled)), ARMS

    monkeypatch.setattr(judged_rows, "retrieve", join)
    monkeypatch.setattr(judged_rows, "open_feature_store", lambda repo: None)
    monkeypatch.setattr(
        judged_rows, "find_service", lambda *_: SimpleNamespace(feature_view_projections=())
    )
    monkeypatch.setattr(judged_rows, "measure_serving", lambda store, groups: {})
    monkeypatch.setattr(judging, "log_evaluation", lambda *args, **options: "0" * 32)
    return impressions


def run(job, store, config, **options):
    meter = StepMeter(Console(quiet=True))
    return job(store, config.workspace, config, meter, **options)


def test_an_evaluation_uses_the_noise_that_was_calibrated_before_it(store, tmp_path):
    config = SailConfig(
        workspace=tmp_path,
        eval=EvalConfig(seeds=(0, 1), max_rounds=30, cluster_by="session_id"),
    )
    before = run(judging.run_experiment, store, config, notes=[])
    noise = run(judging.run_calibration, store, config, fits=10)
    after = run(judging.run_experiment, store, config, notes=[])

    assert before.summary["lift"]["auc"]["training_noise"] == "seed spread"
    assert after.summary["lift"]["auc"]["training_noise"] == "calibrated"
    expected = np.sqrt(2 * noise.variance["auc"] / 2)
    assert after.summary["lift"]["auc"]["training_error"] == pytest.approx(expected)
    assert json.loads((tmp_path / "training_noise.json").read_text())["fits"] == 10
    assert after.summary["lift"]["auc"]["delta"] == before.summary["lift"]["auc"]["delta"]
    assert after.summary["lift"]["auc"]["effective_users"] > 80  # sessions, not the 80 users
    assert "clustered by session_id" in after.report.read_text()
    assert store.joins == 1, "the same tables and settings are joined once"


def test_other_columns_are_joined_anew_and_a_report_in_markdown_lies_beside_the_page(
    store, tmp_path
):
    config = SailConfig(
        workspace=tmp_path, eval=EvalConfig(seeds=(0,), max_rounds=5, controls=False)
    )
    by_session = config.eval.model_copy(update={"cluster_by": "session_id"})
    run(judging.run_experiment, store, config, notes=[])
    own = tmp_path / "by" / "session"
    changed = config.model_copy(update={"eval": by_session})
    found = run(judging.run_experiment, store, changed, notes=[], folder=own)
    assert store.joins == 2
    assert found.report.parent == own
    assert json.loads((own / "summary.json").read_text())["outcome"] == found.summary["outcome"]
    assert len(list((tmp_path / "joined").iterdir())) == 1
    assert f"**{found.summary['outcome']}**" in found.report.with_suffix(".md").read_text()


def test_encoding_is_priced_for_what_reads_vectors(monkeypatch):
    served = {"": 3.0, "contrast": 1.0, "history_counts": 0.5}
    monkeypatch.setattr(judged_rows, "measure_serving", lambda store, groups: served)
    runs = [{"summary": {"encoded": 500, "seconds": 2.0}}, {"summary": {"encoded": 0}}, {}]
    store = SimpleNamespace(covering=lambda table: [SimpleNamespace(lineage=run) for run in runs])
    priced = judged_rows.price_groups(store, ["contrast", "history_counts"])
    assert priced == {
        "treatment": GivenCost(3.0, 4.0),
        "contrast": GivenCost(1.0, 4.0),
        "history_counts": GivenCost(0.5, 0.0),
    }
    runs[:] = runs[1:]
    served.clear()
    assert judged_rows.price_groups(store, ["contrast"]) == {
        "treatment": GivenCost(),
        "contrast": GivenCost(),
    }


@pytest.mark.parametrize(
    ("controls", "made", "beside"),
    [(True, ["random"], ["random"]), (True, [], []), (False, ["random", "lagged"], [])],
)
def test_arms_beside_those_of_the_verdict_are_joined_where_they_were_made(controls, made, beside):
    tables = {f"user_item_match_{arm}" for arm in made}
    store = SimpleNamespace(manifests=lambda table: [table] if table in tables else [])
    config = SailConfig(eval=EvalConfig(controls=controls))
    arms = judged_rows.list_arms(store, config)
    assert arms == ["control", "treatment", "placebo", *beside]
