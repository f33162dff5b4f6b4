"""Calibration and the evaluation after it, from the tables to the summary, without a join."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from ranking_eval import Arm
from sail_features import judging
from sail_features.config import EvalConfig, SailConfig
from sail_features.steps import StepMeter

ARMS = (
    Arm("control", ("ctr",)),
    Arm("treatment", ("ctr", "match")),
    Arm("placebo", ("ctr", "shuffled")),
)


class Impressions:
    """The one table that judging reads itself."""

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


@pytest.fixture
def store(monkeypatch):
    impressions = Impressions()

    def join(feast, rows, services, *, lag):
        assert "position" not in rows.column_names
        for name in ("ctr", "match"):
            rows = rows.append_column(name, pa.array(getattr(impressions, name)))
        shuffled = np.random.default_rng(1).permutation(impressions.match)
        return rows.append_column("shuffled", pa.array(shuffled)), ARMS

    monkeypatch.setattr(judging, "retrieve", join)
    monkeypatch.setattr(judging, "open_feature_store", lambda repo: None)
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
