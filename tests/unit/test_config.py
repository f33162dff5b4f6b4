"""`sail.yaml`: found, read, and refused with the key that is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from sail_features.config import SailConfig, find_config, load_config
from sail_features.errors import ConfigError
from sail_features.history import HistoryWindow


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("SAIL_CONFIG", raising=False)


def write(folder: Path, text: str) -> Path:
    path = folder / "sail.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_empty_file_gives_the_defaults(tmp_path):
    config = load_config(write(tmp_path, ""))
    assert config.workspace == tmp_path / "build"
    assert config == SailConfig(workspace=tmp_path / "build")


def test_the_file_in_the_repository_states_the_defaults():
    written = load_config(Path(__file__).parents[2] / "sail.yaml")
    defaults = SailConfig()
    for section in ("encoder", "history", "match", "interests", "baseline", "spark", "eval"):
        assert getattr(written, section) == getattr(defaults, section)


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    path = write(tmp_path, "workspace: ../elsewhere")
    monkeypatch.chdir("/")
    assert load_config(path).tables == tmp_path.parent / "elsewhere" / "tables"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("histroy: {max_events: 3}", "histroy"),
        ("history: {max_event: 3}", r"history\.max_event\b"),
        ("history: {max_events: 0}", r"history\.max_events[\s\S]*greater than or equal to 1"),
        ("history: {max_events: many}", r"history\.max_events"),
        ("history: {lookback_days: .inf}", r"history\.lookback_days"),
        ("history: {lookback_days: .nan}", r"history\.lookback_days"),
        ("history: {lookback_days: 1.0e+12}", r"history\.lookback_days"),
        ("history: {lag_s: 0}", r"history\.lag_s"),
        ("history: {lag_s: .inf}", r"history\.lag_s"),
        ("history: {unclicked_weight: 0.5}", r"history\.unclicked_weight"),
        ("baseline: {recent_days: .inf}", r"baseline\.recent_days"),
        ("match: {half_life_days: 0}", r"match\.half_life_days"),
        ("encoder: {kind: word2vec}", r"encoder\.kind"),
        ("encoder: {text_fields: []}", r"encoder\.text_fields"),
        ("interests: {clusters: {secondary: 100}}", "128 primary clusters of 100 secondary ones"),
        ("spark: {buckets: 0}", r"spark\.buckets"),
        ("eval: {warmup_share: 0.5, validation_share: 0.2, test_share: 0.25}", "leave 10 %"),
        ("[1, 2]", "can't be read"),
        ("history: [", "can't be read"),
    ],
)
def test_wrong_value_is_refused_with_its_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, text))


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "sail.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(path)


def test_missing_file_says_which(tmp_path):
    with pytest.raises(ConfigError, match=r"sail\.yaml: no such file"):
        load_config(tmp_path / "sail.yaml")


def test_nearest_file_above_is_found(tmp_path):
    below = tmp_path / "repo" / "deep"
    below.mkdir(parents=True)
    outer = write(tmp_path, "")
    assert find_config(below) == outer
    inner = write(tmp_path / "repo", "")
    assert find_config(below) == inner


def test_variable_wins_over_the_nearest_file(tmp_path, monkeypatch):
    write(tmp_path, "")
    monkeypatch.setenv("SAIL_CONFIG", str(tmp_path / "other.yaml"))
    assert find_config(tmp_path) == tmp_path / "other.yaml"


def test_no_file_anywhere(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        find_config(tmp_path)


def test_configuration_can_not_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        SailConfig().history.max_events = 3


def test_window_has_the_units_of_the_file():
    config = SailConfig.model_validate({"history": {"lookback_days": 0.5, "lag_s": 2}})
    window = HistoryWindow.from_config(config.history)
    assert window.lookback == timedelta(hours=12)
    assert window.lag_us == 2_000_000


@pytest.mark.parametrize(
    ("lookback", "max_events", "lag"),
    [
        (timedelta(0), 1, timedelta(1)),
        (timedelta(1), 0, timedelta(1)),
        (timedelta(1), 1, timedelta(0)),
    ],
)
def test_window_that_holds_nothing_or_sees_its_own_moment_is_refused(lookback, max_events, lag):
    with pytest.raises(ConfigError, match="must be positive"):
        HistoryWindow(lookback, max_events, lag)
