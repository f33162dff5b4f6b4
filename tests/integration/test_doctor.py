"""The doctor finds what is known to be wrong with Feast's own stores, and nothing in ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sail_features.cli import main
from sail_features.errors import ConfigError
from sail_features.feast_plugin.doctor import examine

OURS = "sail_features.feast_plugin.stores.duckdb_store.SailDuckDBOfflineStore"


SPARK = "sail_features.feast_plugin.stores.spark_store.SailSparkOfflineStore"
ENGINE = "sail_features.feast_plugin.engine.spark_engine.SailSparkComputeEngine"


def repo(folder: Path, store: str, registry: str = "sql", engine: str = "local") -> Path:
    path = f"sqlite:///{folder}/own.db" if registry == "sql" else str(folder / "own.db")
    settings = {
        "project": "own",
        "provider": "local",
        "offline_store": {"type": store},
        "online_store": {"type": "sqlite", "path": "own_online.db"},
        "registry": {"registry_type": registry, "path": path},
        "entity_key_serialization_version": 3,
        "batch_engine": {"type": engine},
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    return folder


def failed(repo: Path) -> set[str]:
    return {finding.probe for finding in examine(repo)[1] if not finding.passed}


def test_our_store_passes_and_nothing_of_the_user_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--repo", str(repo(tmp_path, OURS))])
    assert ended.value.code == 0
    assert "fail" not in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["feature_store.yaml"]


def test_duckdb_of_feast_sees_what_was_created_later(tmp_path: Path) -> None:
    assert failed(repo(tmp_path, "duckdb")) - {"row_order"} == {"created_later"}


def test_dask_loses_rows(tmp_path: Path) -> None:
    lost = {"one_user_three_items", "repeated_keys", "created_later", "too_old"}
    assert lost <= failed(repo(tmp_path, "dask"))


def test_file_registry_loses_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--repo", str(repo(tmp_path, OURS, registry="file"))])
    assert ended.value.code == 1
    assert "registry_type: sql" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_spark_of_feast_swaps_values(tmp_path: Path) -> None:
    found = failed(repo(tmp_path, "spark", engine="spark.engine"))
    assert {"pairs_of_one_text", "created_later", "encoded_once"} <= found


@pytest.mark.slow
def test_our_spark_store_and_engine_pass(tmp_path: Path) -> None:
    assert not failed(repo(tmp_path, SPARK, engine=ENGINE))


def test_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        examine(tmp_path)
