"""What a registry holds is not lost by two who apply at once, nor by a version too old for it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from feast import Entity
from feast.value_type import ValueType
from feast_workspace import build_store, configure, copy_repo, write_world

from sail_features.cli import main
from sail_features.feast_plugin import open_feature_store
from sail_features.feast_plugin.match_server import match_server
from sail_features.feast_plugin.versions import RegistryError, check_versions
from sail_features.tables import TableStore

FEAST = Path(sys.executable).with_name("feast")


@pytest.mark.parametrize("package", ["sail_features", "feast"])
def test_registry_of_a_newer_version_is_refused_and_kept(
    tmp_path: Path, package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = build_store(tmp_path)
    view = store.get_feature_view("user_history")
    view.tags[f"written_by_{package}"] = "99.1"
    store.apply([view])
    repo = tmp_path / "feature_repo"
    with pytest.raises(RegistryError, match=f"{package.replace('_', '-')} 99.1, this is"):
        open_feature_store(repo)
    with pytest.raises(SystemExit) as ended:
        main(["apply", "--feature-repo", str(repo)])
    assert ended.value.code == 2
    assert "install" in capsys.readouterr().err
    assert store.get_feature_view("user_history").tags[f"written_by_{package}"] == "99.1"


def test_registry_of_an_older_version_and_of_nobody_is_read(tmp_path: Path) -> None:
    store = build_store(tmp_path)
    for tags in ({"written_by_feast": "0.1", "written_by_sail_features": "0.0.1"}, {}):
        view = store.get_feature_view("user_history")
        view.tags = tags
        check_versions("sail", [view])


def test_many_who_open_a_new_registry_and_apply_at_once_lose_nothing(tmp_path: Path) -> None:
    """Without a lock, all but one fail: the tables of the registry exist already."""
    repo, writers = copy_repo(tmp_path), 5
    together = Barrier(writers)

    def apply(writer: int) -> list[str]:
        together.wait()
        store = open_feature_store(repo)
        names = [f"writer_{writer}_{number}" for number in range(3)]
        for name in names:
            store.apply([Entity(name=name, join_keys=[name], value_type=ValueType.STRING)])
        return names

    with ThreadPoolExecutor(writers) as pool:
        applied = {name for names in pool.map(apply, range(writers)) for name in names}
    assert len(applied) == 3 * writers
    assert applied <= {entity.name for entity in open_feature_store(repo).list_entities()}


def test_two_feast_apply_at_once_on_one_registry_lose_nothing(tmp_path: Path) -> None:
    """Two projects of one registry, each applied by a process of its own."""
    repos = []
    for project in ("one", "two"):
        folder = tmp_path / project
        folder.mkdir()
        write_world(TableStore(folder / "build" / "tables"))
        repo = copy_repo(folder)
        path = f"sqlite:///{tmp_path / 'shared.db'}"
        configure(repo, "registry", {"registry_type": "sql", "path": path})
        configure(repo, "project", project)
        repos.append(repo)
    stores = [open_feature_store(repo) for repo in repos]
    running = [subprocess.Popen([FEAST, "apply"], cwd=repo) for repo in repos]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    for store in stores:
        names = {view.name for view in store.list_feature_views()}
        assert {"item_embedding", "user_history", "user_item_baseline", "user_item_match"} <= names
        assert {entity.name for entity in store.list_entities()} >= {"user", "item"}
        assert len(store.list_feature_services()) == 3


def test_definition_of_another_version_says_so() -> None:
    with pytest.raises(RegistryError, match="another version of sail-features applied it"):
        match_server('{"tables": "/", "a_field_of_tomorrow": 1}')
