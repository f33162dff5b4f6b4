"""Match features asked for online are those that the match job wrote for the same state."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import worlds
import yaml
from feast import FeatureStore
from feast_workspace import copy_repo, free_port
from pyspark.sql import SparkSession
from test_feast_commands import wait_for
from worlds import AS_OF, CONFIG, at

from sail_features import columns as c
from sail_features.errors import ConfigError, InputError
from sail_features.feast_plugin import (
    apply_repo,
    item_embedding_view,
    item_entity,
    materialize,
    on_demand_match_view,
    open_feature_store,
    user_entity,
    user_history_view,
    user_interest_view,
)
from sail_features.feast_plugin.feature_log import feature_log
from sail_features.feast_plugin.match_definition import MatchDefinition
from sail_features.feast_plugin.match_server import HISTORY, INTERESTS, MatchServer
from sail_features.feast_plugin.serving_time import measure_serving
from sail_features.feast_plugin.skew import measure_skew
from sail_features.history import to_us
from sail_features.match.family import columns_of, feature_set_id
from sail_features.skew import SkewReport, read_served_log
from sail_features.spark.baseline import run_baseline
from sail_features.spark.encode import run_encode
from sail_features.spark.history import run_history
from sail_features.spark.interests import run_interests
from sail_features.spark.match import run_match
from sail_features.tables import TableStore

HISTORY_END = at(20)
"""All events of the world are before it, and all impressions that are matched after it."""
ROWS = 3_000
SERVED = "user_item_match"


@pytest.fixture(
    scope="module",
    params=[str, pytest.param(int, marks=pytest.mark.slow)],
    ids=["string ids", "integer ids"],
)
def repo(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return an applied and materialised repository over tables that the jobs wrote."""
    folder, ids = tmp_path_factory.mktemp("served"), request.param
    tables = TableStore(folder / "build" / "tables")
    worlds.random_world(4, ids=ids, negatives="popularity").publish(tables, HISTORY_END)
    shown = worlds.impressions(random_impressions(ids))
    worlds.publish(tables, "impressions", shown, since=HISTORY_END, negatives="popularity")
    run_encode(spark, tables, CONFIG, as_of=HISTORY_END)
    run_history(spark, tables, CONFIG, as_of=HISTORY_END)
    run_interests(spark, tables, CONFIG, as_of=HISTORY_END)
    run_match(spark, tables, CONFIG, as_of=AS_OF, since=HISTORY_END)
    run_baseline(spark, tables, CONFIG, as_of=AS_OF, since=HISTORY_END)
    repo = copy_repo(folder)
    apply_repo(repo)
    materialize(open_feature_store(repo), AS_OF)
    return repo


def random_impressions(ids: type) -> list[tuple[Any, Any, Any, int]]:
    """Return impressions at full hours, of users and items some of which nobody knows."""
    rng = np.random.default_rng(9)
    users, items = rng.integers(0, 15, ROWS), rng.integers(1, 22, ROWS)
    days = rng.integers(1, 9 * 24, ROWS) / 24  # after the interests were mined
    return [
        (ids(user), ids(item), at(20 + float(day)), 0)
        for user, item, day in zip(users, items, days, strict=True)
    ]


@pytest.fixture(scope="module")
def store(repo: Path) -> FeatureStore:
    return open_feature_store(repo)


@pytest.fixture(scope="module")
def batch(repo: Path) -> pa.Table:
    return TableStore(repo.parent / "build" / "tables").read("user_item_match")


@pytest.fixture(scope="module")
def columns(repo: Path) -> tuple[str, ...]:
    definition = MatchDefinition.of_newest(TableStore(repo.parent / "build" / "tables"))
    assert definition is not None
    return columns_of(definition.features)


def request_of(batch: pa.Table) -> dict[str, list[Any]]:
    """Return what a ranker asks, for the impressions of these rows."""
    moments = batch[c.EVENT_TIMESTAMP].cast(pa.int64()).to_pylist()
    lag_us = round(CONFIG.history.lag_s * 1e6)
    return {
        c.USER_ID: batch[c.USER_ID].to_pylist(),
        c.ITEM_ID: batch[c.ITEM_ID].to_pylist(),
        "requested_at": [moment + lag_us for moment in moments],
    }


def assert_bits_of_batch(
    found: dict[str, list[Any]], batch: pa.Table, columns: tuple[str, ...], prefix: str = ""
) -> None:
    for name in columns:
        answered = np.array(found[prefix + name], dtype=np.float32)
        np.testing.assert_array_equal(answered, batch[name].to_numpy(), err_msg=name)


@pytest.mark.parametrize("full_names", [False, True])
def test_online_has_the_bits_of_batch(
    store: FeatureStore, batch: pa.Table, columns: tuple[str, ...], full_names: bool
) -> None:
    assert batch.num_rows > 2_000
    found = store.get_online_features(
        store.get_feature_service("ranker_online"),
        request_of(batch),
        full_feature_names=full_names,
    ).to_dict()
    assert_bits_of_batch(found, batch, columns, f"{SERVED}__" if full_names else "")
    seen = np.isfinite(batch["sim_max"].to_numpy())
    assert 0.3 < seen.mean() < 1  # the world has rows with and without a history
    assert np.isfinite(batch["interest_similarity"].to_numpy()).any()


def test_view_is_tagged_with_the_feature_set_of_batch(store: FeatureStore, batch: pa.Table) -> None:
    tags = store.get_on_demand_feature_view("user_item_match_online").tags
    assert {tags[c.FEATURE_SET_ID]} == set(batch[c.FEATURE_SET_ID].to_pylist())


def test_unknown_item_and_unknown_user_get_nulls(
    store: FeatureStore, batch: pa.Table, columns: tuple[str, ...]
) -> None:
    ids = type(batch[c.USER_ID][0].as_py())
    found = store.get_online_features(
        store.get_feature_service("ranker_online"),
        {
            c.USER_ID: [ids("5"), ids("404")],
            c.ITEM_ID: [ids("404"), ids("3")],
            "requested_at": [None, to_us(HISTORY_END)],
        },
    ).to_dict()
    assert all(found[name][0] is None for name in columns)
    assert found["sim_max"][1] is None
    assert found["history_count"][1] == 0  # as in batch: a count, and there is nothing to count


def test_item_features_can_be_asked_for_in_the_same_request(
    store: FeatureStore, batch: pa.Table
) -> None:
    request = {name: values[:5] for name, values in request_of(batch).items()}
    found = store.get_online_features(
        ["user_item_match_online:sim_max", "item_embedding:dim"], request
    ).to_dict()
    expected = np.array(batch["sim_max"].to_numpy()[:5])
    np.testing.assert_array_equal(np.array(found["sim_max"], np.float32), expected)
    assert 32 in found[c.DIM]


@pytest.mark.parametrize("service", ["ranker_treatment", "ranker_online"])
def test_no_skew_between_served_and_trained_on(
    store: FeatureStore, batch: pa.Table, tmp_path: Path, service: str
) -> None:
    """Against the batch table, and against the view computed from the stored history."""
    report = skew_of(store, request_of(batch), tmp_path, service)
    assert len(report.features) > 30
    assert [feature.name for feature in report.features if feature.mismatches] == []


def test_history_that_ends_before_the_request_is_skew(
    store: FeatureStore, batch: pa.Table, tmp_path: Path
) -> None:
    """Asked a day later, recency has moved on; the training rows are those of a day before."""
    request = request_of(batch)
    report = skew_of(store, request, tmp_path, "ranker_treatment", day_us=86_400_000_000)
    skewed = {feature.name for feature in report.skewed}
    assert "user_item_match__history_age_days" in skewed
    assert not report.passed


def skew_of(
    store: FeatureStore,
    request: dict[str, list[Any]],
    folder: Path,
    service: str,
    *,
    day_us: int = 0,
) -> SkewReport:
    """Serve a request, some time later than the log then says, and hold it against batch."""
    later = [moment + day_us for moment in request["requested_at"]]
    answer = store.get_online_features(
        store.get_feature_service("ranker_online"),
        {**request, "requested_at": later},
        full_feature_names=True,
    )
    path = folder / "served.parquet"
    pq.write_table(feature_log(store, "ranker_online", request, answer), path)
    return measure_skew(store, service, read_served_log(path), lag=CONFIG.history.lag)


def test_registry_alone_is_enough(repo: Path, batch: pa.Table, tmp_path: Path) -> None:
    """A process that has neither the repository's files nor our imports answers."""
    program = (
        "import json, sys\n"
        "from feast import FeatureStore\n"
        "store = FeatureStore(fs_yaml_file=sys.argv[1])\n"
        "features = store.get_feature_service('ranker_online')\n"
        "found = store.get_online_features(features, json.loads(sys.argv[2])).to_dict()\n"
        "print(json.dumps(found['sim_max']))\n"
    )
    path = write_config(repo, tmp_path, {})
    request = {name: values[:50] for name, values in request_of(batch).items()}
    done = subprocess.run(
        [sys.executable, "-c", program, path, json.dumps(request)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answered = np.array(json.loads(done.stdout.splitlines()[-1]), dtype=np.float32)
    np.testing.assert_array_equal(answered, batch["sim_max"].to_numpy()[:50])


def write_config(repo: Path, folder: Path, changes: dict[str, Any]) -> Path:
    """Write the repository's configuration, with changes, into a folder that has nothing else."""
    config = yaml.safe_load((repo / "feature_store.yaml").read_text(encoding="utf-8"))
    config["registry"]["path"] = f"sqlite:///{repo / 'data' / 'registry.db'}"
    config["online_store"]["path"] = str(repo / "data" / "online_store.db")
    path = folder / "feature_store.yaml"
    path.write_text(yaml.safe_dump(config | changes), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def server(repo: Path) -> Iterator[str]:
    """Return the address of a running `feast serve`."""
    port = free_port()
    log = (repo / "serve.log").open("w", encoding="utf-8")
    process = subprocess.Popen(
        [Path(sys.executable).with_name("feast"), "serve", "--port", str(port)],
        cwd=repo,
        stdout=log,
        stderr=log,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def test_feature_server_has_the_bits_of_batch(
    server: str, batch: pa.Table, columns: tuple[str, ...]
) -> None:
    asked = {"feature_service": "ranker_online", "entities": request_of(batch)}
    request = urllib.request.Request(  # noqa: S310
        f"{server}/get-online-features",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        answered = json.load(answer)
    names = answered["metadata"]["feature_names"]
    found = {
        name: result["values"] for name, result in zip(names, answered["results"], strict=True)
    }
    assert_bits_of_batch(found, batch, columns)


def test_feature_server_loads_the_kernel_before_it_answers(server: str, repo: Path) -> None:
    assert "Failed to load static artifacts" not in (repo / "serve.log").read_text()


def test_vectors_come_from_the_online_store_where_there_are_no_tables(
    repo: Path, batch: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = TableStore(repo.parent / "build" / "tables")
    definition = MatchDefinition.of_newest(tables)
    assert definition is not None
    elsewhere = definition.model_copy(update={"tables": repo / "nowhere", "categories": False})
    monkeypatch.chdir(repo)
    server = MatchServer(elsewhere)
    request = {name: values[:300] for name, values in request_of(batch).items()}
    history = open_feature_store(repo).get_online_features(
        [f"user_history:{name}" for name in HISTORY]
        + [f"user_interest:{name}" for name in INTERESTS],
        {c.USER_ID: request[c.USER_ID]},
    )
    found = server.answer({**history.to_dict(), **request})
    wanted = columns_of(elsewhere.features)
    for name in wanted:
        expected = batch[name].to_numpy()[:300]
        np.testing.assert_array_equal(np.array(found[name]), expected, err_msg=name)


def test_redis_answers_the_same(
    repo: Path, batch: pa.Table, columns: tuple[str, ...], tmp_path: Path, redis_port: int
) -> None:
    redis = {"type": "redis", "connection_string": f"127.0.0.1:{redis_port}"}
    store = FeatureStore(fs_yaml_file=write_config(repo, tmp_path, {"online_store": redis}))
    materialize(store, AS_OF)
    found = store.get_online_features(
        store.get_feature_service("ranker_online"), request_of(batch)
    ).to_dict()
    assert_bits_of_batch(found, batch, columns)


def test_table_of_other_definitions_is_refused(repo: Path, tmp_path: Path) -> None:
    tables = rewritten(
        repo,
        tmp_path,
        lambda manifest: manifest["lineage"].update(feature_set_id="match-of-an-older-version"),
    )
    with pytest.raises(InputError, match="holds feature set match-of-an-older-version"):
        MatchDefinition.of_newest(tables)


def test_serving_is_timed_by_feature_on_answers_that_hold_something(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = TableStore(repo.parent / "build" / "tables")
    answers, answer = [], MatchServer.answer

    def keep(server: MatchServer, request: Any) -> dict[str, list[Any]]:
        answers.append(answer(server, request))
        return answers[-1]

    monkeypatch.setattr(MatchServer, "answer", keep)
    definition = MatchDefinition.of_newest(tables)
    assert definition is not None
    names = [feature.name for feature in definition.features]
    found = measure_serving(tables, names)
    assert list(found) == ["", *names]
    assert min(found.values()) > 0
    together = {name: values for one in answers for name, values in one.items()}
    assert set(together) == set(columns_of(definition.features))
    longest = max(map(len, tables.read("user_history")[c.HISTORY_ITEM_IDS].to_pylist()))
    empty = {name for name, values in together.items() if np.isnan(values).all()}
    assert longest < 9, "then somebody may have liked a fourth item"
    assert empty <= {"sim_top_4", "sim_top_5"}
    cannot = rewritten(repo, tmp_path, lambda m: m["lineage"].update(feature_set_id="older"))
    assert measure_serving(cannot) == {}


def test_features_of_event_types_are_refused(repo: Path, tmp_path: Path) -> None:
    def ask_for_purchases(manifest: dict[str, Any]) -> None:
        manifest["config"]["match"]["event_types"] = ["buy"]
        definition = MatchDefinition.of_newest(TableStore(repo.parent / "build" / "tables"))
        assert definition is not None
        match = definition.match.model_copy(update={"event_types": ("buy",)})
        features = definition.model_copy(update={"match": match}).features
        manifest["lineage"]["feature_set_id"] = feature_set_id(features, match.dim)

    with pytest.raises(ConfigError, match="event types buy"):
        MatchDefinition.of_newest(rewritten(repo, tmp_path, ask_for_purchases))


def test_interests_of_another_encoder_are_refused(repo: Path, tmp_path: Path) -> None:
    tables = rewritten(repo, tmp_path, by_another_encoder, table="user_interest")
    with pytest.raises(InputError, match=r"is by encoder another, user_item_match by hash"):
        MatchDefinition.of_newest(tables)


def test_items_of_another_encoder_are_refused(repo: Path, tmp_path: Path) -> None:
    tables = rewritten(repo, tmp_path, by_another_encoder, table="item_embedding")
    views = (
        user_history_view(tables, user_entity(tables)),
        item_embedding_view(tables, item_entity(tables)),
        user_interest_view(tables, user_entity(tables)),
    )
    with pytest.raises(InputError, match=r"is by encoder another, user_item_match by hash"):
        on_demand_match_view(tables, *views)


def by_another_encoder(manifest: dict[str, Any]) -> None:
    manifest["lineage"]["encoder_id"] = "another"


def rewritten(
    repo: Path, folder: Path, change: Callable[[dict[str, Any]], None], *, table: str = SERVED
) -> TableStore:
    """Return the tables, one of them with another manifest."""
    copy = folder / "tables"
    for name in (SERVED, "user_interest", "user_history", "item_embedding"):
        shutil.copytree(repo.parent / "build" / "tables" / name, copy / name)
    (path,) = (copy / table).rglob("_manifest.json")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return TableStore(copy)
