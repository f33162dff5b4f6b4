"""`sail-features eval` and its subcommand: what is refused before anything long begins."""

from __future__ import annotations

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
