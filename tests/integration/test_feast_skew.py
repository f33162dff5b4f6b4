"""What is done to served features is named: by a real online store, and a tampered log of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import worlds
from feast import Entity, FeatureService, FeatureStore, FeatureView, FileSource
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.value_type import ValueType
from feast_workspace import FEATURE_REPO

from sail_features.cli import main
from sail_features.errors import ConfigError
from sail_features.feast_plugin import open_feature_store
from sail_features.feast_plugin.feature_log import feature_log, logging_folder
from sail_features.feast_plugin.skew import measure_skew
from sail_features.skew import LogError, SkewReport, read_served_log
from sail_features.tables import TableStore

USERS = 300
SERVICE = "ranker"
LAG = timedelta(microseconds=1)


def day(number: float) -> datetime:
    return datetime(2024, 5, 1, tzinfo=UTC) + timedelta(days=number)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with two days of a user's features; the first day is online."""
    folder = tmp_path_factory.mktemp("skew")
    (folder / "sail.yaml").write_text("workspace: build\n", encoding="utf-8")
    config = (FEATURE_REPO / "feature_store.yaml").read_text(encoding="utf-8")
    (folder / "feature_store.yaml").write_text(config, encoding="utf-8")
    rng = np.random.default_rng(3)
    users = [str(user) for user in range(USERS)]
    tables = [
        {
            "user_id": users,
            "event_timestamp": pa.array([day(number)] * USERS, pa.timestamp("us", "UTC")),
            "rate": rng.random(USERS, np.float32),
            "spend": rng.gamma(2, 10, USERS),
            "visits": rng.integers(0, 9, USERS),
            "city": rng.choice(["Leeds", "York"], USERS),
        }
        for number in (1, 2)
    ]
    path = folder / "users.parquet"
    pq.write_table(pa.concat_tables([pa.table(table) for table in tables]), path)
    source = FileSource(name="users", path=str(path), timestamp_field="event_timestamp")
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    view = FeatureView(name="users", entities=[user], source=source, ttl=timedelta(0))
    log = LoggingConfig(destination=FileLoggingDestination(path="served"))
    store = open_feature_store(folder)
    service = FeatureService(name=SERVICE, features=[view], logging_config=log)
    store.apply([user, view, service, FeatureService(name="unlogged", features=[view])])
    store.materialize(day(0), day(1.5))
    return folder


@pytest.fixture(scope="module")
def store(repo: Path) -> FeatureStore:
    return open_feature_store(repo)


def serve(store: FeatureStore, at: datetime) -> pa.Table:
    """Return the log of all users' features, as asked for at a time."""
    request = {"user_id": [str(user) for user in range(USERS)]}
    service = store.get_feature_service(SERVICE)
    answer = store.get_online_features(service, request, full_feature_names=True)
    return feature_log(store, SERVICE, request, answer, at=at)


@pytest.fixture(scope="module")
def first_day(store: FeatureStore) -> pa.Table:
    return serve(store, day(1.6))


def measure(store: FeatureStore, log: pa.Table, folder: Path, **options: Any) -> SkewReport:
    path = folder / "log.parquet"
    pq.write_table(log, path)
    return measure_skew(store, SERVICE, read_served_log(path), lag=LAG, **options)


def changed(log: pa.Table, name: str, change: Callable[[Any], Any]) -> pa.Table:
    place = log.column_names.index(name)
    return log.set_column(place, log.schema.field(name), pa.array(change(log[name].to_numpy())))


def found_in(report: SkewReport) -> dict[str, str]:
    return {f.name: f.cause for f in report.features if f.mismatches}


def test_untouched_log_agrees_in_every_bit(
    store: FeatureStore, first_day: pa.Table, tmp_path: Path
) -> None:
    report = measure(store, first_day, tmp_path)
    assert [feature.name for feature in report.features] == [
        f"users__{name}" for name in ("rate", "spend", "visits", "city")
    ]
    assert found_in(report) == {}
    assert (report.passed, report.rows, report.not_compared) == (True, USERS, ())


def test_one_bit_is_named(store: FeatureStore, first_day: pa.Table, tmp_path: Path) -> None:
    log = changed(first_day, "users__rate", lambda v: np.nextafter(v, np.float32(2)))
    report = measure(store, log, tmp_path)
    assert found_in(report) == {"users__rate": "last bits"}
    assert [feature.name for feature in report.skewed] == ["users__rate"]
    assert not measure(store, log, tmp_path, relative_tolerance=1e-3).skewed


def test_change_of_unit_is_named(store: FeatureStore, first_day: pa.Table, tmp_path: Path) -> None:
    log = changed(first_day, "users__spend", lambda v: v * 100)
    assert found_in(measure(store, log, tmp_path)) == {"users__spend": "100 times batch"}


def test_null_is_named_with_its_row(
    store: FeatureStore, first_day: pa.Table, tmp_path: Path
) -> None:
    kept = pa.array(np.arange(USERS) != 7)
    place = first_day.column_names.index("users__visits")
    field = first_day.schema.field("users__visits")
    values = pc.if_else(kept, first_day["users__visits"], None)
    report = measure(store, first_day.set_column(place, field, values), tmp_path)
    assert found_in(report) == {"users__visits": "missing online in 1"}
    (example,) = next(f for f in report.features if f.mismatches).examples
    assert (example["user_id"], example["logged"]) == ("7", None)
    assert example["recomputed"] is not None
    assert report.passed  # 1 of 300 is within the limit of 1 %


def test_row_that_was_not_materialised_is_named_stale(
    store: FeatureStore, first_day: pa.Table, tmp_path: Path
) -> None:
    """One user is answered with the first day's row although batch has the second's."""
    table = pq.read_table(Path(store.repo_path) / "users.parquet").slice(USERS)
    fresh = first_day
    for name in ("rate", "spend", "visits", "city"):
        place, column = fresh.column_names.index(f"users__{name}"), f"users__{name}"
        values = pc.if_else(pa.array(np.arange(USERS) == 5), first_day[column], table[name])
        fresh = fresh.set_column(place, first_day.schema.field(column), values)
    stamp = pa.array([day(2.5)] * USERS, pa.timestamp("us", "UTC"))
    place = fresh.column_names.index("__log_timestamp")
    report = measure(store, fresh.set_column(place, "__log_timestamp", stamp), tmp_path)
    causes = found_in(report)
    assert causes["users__rate"] == causes["users__spend"] == "older than batch in 1"
    rate = next(f for f in report.features if f.name == "users__rate")
    assert [example["user_id"] for example in rate.examples] == ["5"]


def test_store_that_was_never_materialised_again_is_stale_in_all_rows(
    store: FeatureStore, tmp_path: Path
) -> None:
    rate = measure(store, serve(store, day(2.5)), tmp_path).features[0]
    assert (rate.mismatches, rate.stale) == (USERS, USERS)


def test_drift_from_training_rows_is_measured(
    store: FeatureStore, first_day: pa.Table, tmp_path: Path
) -> None:
    users = pa.array([str(user) for user in range(USERS)])
    asked = pa.array([day(1.4)] * USERS, pa.timestamp("us", "UTC"))
    trained = pa.table({"user_id": users, "event_timestamp": asked})
    same = measure(store, first_day, tmp_path, reference=trained)
    assert {feature.drift.index for feature in same.features if feature.drift} == {0.0}
    log = changed(first_day, "users__spend", lambda v: v + 30)
    moved = measure(store, log, tmp_path, reference=trained)
    assert [feature.name for feature in moved.drifted] == ["users__spend"]


def test_log_by_feast_is_found_and_the_command_says_what_it_says(
    repo: Path,
    store: FeatureStore,
    first_day: pa.Table,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows go through Feast's own logging into the destination of the service."""
    monkeypatch.setenv("COLUMNS", "200")
    service = store.get_feature_service(SERVICE)
    store.write_logged_features(first_day, service)
    options = ["skew", "--service", SERVICE, "--feature-repo", str(repo)]
    options += ["--config", str(repo / "sail.yaml")]
    assert run(options) == 0
    store.write_logged_features(changed(first_day, "users__rate", lambda v: v * 2), service)
    assert run(options) == 1
    assert "users__rate" in capsys.readouterr().out
    written = json.loads((repo / "build" / "skew.json").read_text())
    assert (written["rows"], written["passed"]) == (2 * USERS, False)
    assert written["features"][0]["share"] == 0.5
    page = (repo / "build" / "skew.html").read_text()
    assert "skewed: users__rate" in page
    assert "http" not in page
    assert run([*options, "--max-mismatch", "0.5"]) == 0


def test_command_takes_impressions_before_the_log_as_training_rows(
    repo: Path, first_day: pa.Table, tmp_path: Path
) -> None:
    """Those of the ranker's warm-up are left out: their features were not trained on."""
    workspace = tmp_path / "build"
    (tmp_path / "sail.yaml").write_text("workspace: build\n", encoding="utf-8")
    shown = [(str(user), "a", day(1 + user / 1000), 0) for user in range(USERS)]
    shown += [("0", "a", day(2), 1)]
    worlds.publish(TableStore(workspace / "tables"), "impressions", worlds.impressions(shown))
    pq.write_table(first_day, tmp_path / "log.parquet")
    options = ["skew", "--service", SERVICE, "--feature-repo", str(repo)]
    options += ["--config", str(tmp_path / "sail.yaml"), "--log", str(tmp_path / "log.parquet")]
    assert run(options) == 0
    written = json.loads((workspace / "skew.json").read_text())
    assert written["reference_rows"] == 255  # 301, less 15 % of warm-up and what came later
    assert all(feature["drift"]["index"] < 0.25 for feature in written["features"])
    short = tmp_path / "short.parquet"
    pq.write_table(pa.table({"user_id": ["1"]}), short)
    assert run([*options, "--reference", str(short)]) == 2
    assert run([*options, "--reference", str(tmp_path / "nowhere")]) == 2


def run(arguments: list[str]) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_log_that_cannot_be_compared_is_refused(
    store: FeatureStore, first_day: pa.Table, tmp_path: Path
) -> None:
    with pytest.raises(LogError, match="no column 'user_id'"):
        measure(store, first_day.drop_columns("user_id"), tmp_path)
    keys = first_day.select(["user_id", "__log_timestamp"])
    with pytest.raises(LogError, match="none of the features of service 'ranker'"):
        measure(store, keys, tmp_path)
    nobody = keys.set_column(0, "user_id", pa.nulls(USERS, pa.string()))
    with pytest.raises(LogError, match="no row has all of user_id"):
        measure(store, nobody.append_column("users__rate", first_day["users__rate"]), tmp_path)


def test_service_that_is_logged_nowhere_asks_for_a_log(store: FeatureStore) -> None:
    with pytest.raises(ConfigError, match="give --log PATH"):
        logging_folder(store, "unlogged")


def test_unknown_service_names_those_that_there_are(store: FeatureStore) -> None:
    with pytest.raises(ConfigError, match="unknown 'nobody'\nHint: choose one of ranker, unlogged"):
        logging_folder(store, "nobody")
