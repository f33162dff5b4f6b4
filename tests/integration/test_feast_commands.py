"""Feast's own commands on `feature_repo/`, as a user types them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from feast_workspace import at, copy_repo, free_port, join, write_world

from sail_features.errors import ConfigError
from sail_features.feast_plugin import apply_repo, open_feature_store
from sail_features.feast_plugin.store import FeastError
from sail_features.tables import TableStore

FEAST = Path(sys.executable).with_name("feast")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository that was applied once."""
    folder = tmp_path_factory.mktemp("commands")
    write_world(TableStore(folder / "build" / "tables"))
    repo = copy_repo(folder)
    printed = apply_repo(repo)
    assert "Deploying infrastructure for user_item_match_placebo" in printed
    assert "ranker_placebo" in feast(repo, "feature-services", "list")
    return repo


def feast(repo: Path, *arguments: str) -> str:
    done = subprocess.run([FEAST, *arguments], cwd=repo, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return done.stdout


def without_times(dump: str) -> list[str]:
    """Return what a registry holds; Feast stamps the project at each apply."""
    return [line for line in dump.splitlines() if "Timestamp" not in line]


def test_applying_again_changes_nothing(repo: Path) -> None:
    before = feast(repo, "registry-dump")
    feast(repo, "apply")
    assert without_times(feast(repo, "registry-dump")) == without_times(before)


def test_plan_sees_no_change(repo: Path) -> None:
    assert "No changes to registry" in feast(repo, "plan")


def test_store_opens_and_joins_from_any_directory(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    joined = join(open_feature_store(repo), [("1", "11", at(5))])
    assert joined["user_item_match__similarity"].tolist() == pytest.approx([0.1])
    assert not list(tmp_path.iterdir())


def test_materialize_then_materialize_incremental(repo: Path) -> None:
    def dims() -> list[int | None]:
        entities = [{"item_id": "1"}, {"item_id": "11"}]
        store = open_feature_store(repo)
        return store.get_online_features(["item_embedding:dim"], entities).to_dict()["dim"]

    feast(repo, "materialize", "2019-12-31T00:00:00", "2020-01-01T01:30:00")
    assert dims() == [2, None]
    feast(repo, "materialize-incremental", "2020-01-01T03:00:00")
    assert dims() == [2, 2]


def test_ui_serves_the_project_and_its_views(repo: Path) -> None:
    port = free_port()
    server = subprocess.Popen(
        [FEAST, "ui", "--host", "127.0.0.1", "--port", str(port)],
        cwd=repo,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        projects = json.loads(wait_for(f"http://127.0.0.1:{port}/projects-list.json"))
        views = wait_for(f"http://127.0.0.1:{port}/api/v1/feature_views?project=sail")
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert [project["id"] for project in projects["projects"]] == ["sail"]
    assert "user_item_match" in views


def wait_for(address: str, timeout_s: float = 60) -> str:
    """Return what ``address`` serves, once it does."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310
                return str(answer.read().decode())
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_apply_without_tables_says_which_command_makes_them(tmp_path: Path) -> None:
    with pytest.raises(FeastError, match=re.escape("run `sail-features encode` first")):
        apply_repo(copy_repo(tmp_path))


def test_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"feature_store\.yaml: no such file"):
        open_feature_store(tmp_path)
