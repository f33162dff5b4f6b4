"""`sail-features eval` and its subcommand: what is refused before anything long begins."""

from __future__ import annotations

import json

import pytest

from sail_features.cli import main


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "sail.yaml"
    path.write_text(f"workspace: {tmp_path / 'build'}\n")
    return path


@pytest.mark.parametrize("command", [["eval"], ["eval", "calibrate"]])
def test_without_tables_the_missing_one_is_named(command, config, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--config", str(config)])
    assert stopped.value.code == 2
    assert "table 'impressions' has no complete partition" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_refused_before_the_judge_begins(
    config, capsys, monkeypatch
):
    monkeypatch.setattr("sail_features.cli.judge._load_judged", lambda config: (None, None))
    with pytest.raises(SystemExit) as stopped:
        main(["eval", "--out", str(config / "below"), "--config", str(config)])
    assert stopped.value.code == 2
    assert "--out: " in capsys.readouterr().err


def test_fewer_than_ten_fits_are_refused(config, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["eval", "calibrate", "--fits", "9", "--config", str(config)])
    assert stopped.value.code == 2
    assert "--fits" in capsys.readouterr().err


def test_help_of_eval_lists_calibrate(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["eval", "--help"])
    assert stopped.value.code == 0
    assert "calibrate" in capsys.readouterr().out


def run_gate(config):
    with pytest.raises(SystemExit) as stopped:
        main(["eval", "gate", "--config", str(config)])
    return stopped.value.code


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("credible lift", 0), ("no lift", 1), ("inconclusive", 1), ("invalid", 1)],
)
def test_the_gate_lets_a_credible_lift_through_only(outcome, code, config, capsys):
    summary = config.parent / "build" / "summary.json"
    summary.parent.mkdir()
    summary.write_text(json.dumps({"outcome": outcome, "verdict": "so [it] is", "rows": 3}))
    assert run_gate(config) == code
    assert capsys.readouterr().out == f"{outcome}: so [it] is\n"


@pytest.mark.parametrize("text", [None, "{", "{}", '{"outcome": "great", "verdict": "x"}'])
def test_a_gate_without_a_verdict_says_so(text, config, capsys):
    summary = config.parent / "build" / "summary.json"
    summary.parent.mkdir()
    if text is not None:
        summary.write_text(text)
    assert run_gate(config) == 1
    assert "summary.json: no verdict" in capsys.readouterr().err
