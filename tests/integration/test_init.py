"""A new project works at once: by Feast's own commands, and as its README says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from feast_workspace import at, join, write_world

from sail_features.feast_plugin import open_feature_store
from sail_features.tables import TableStore

PROGRAMS = Path(sys.executable).parent


def bash(folder: Path, script: str) -> str:
    """Run what a user types, the installed programs on the path."""
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "TZ": "UTC"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_feast_applies_materialises_serves_and_joins_a_new_project(tmp_path: Path) -> None:
    bash(tmp_path, "sail-features init my_shop")
    write_world(TableStore(tmp_path / "my_shop" / "build" / "tables"))
    repo = tmp_path / "my_shop" / "feature_repo"
    assert "user_item_match" in bash(repo, "feast apply")
    bash(repo, "feast materialize 2019-12-31T00:00:00 2020-01-01T03:00:00")
    store = open_feature_store(repo)
    assert store.project == "my_shop"
    found = store.get_online_features(["item_embedding:dim"], [{"item_id": "11"}]).to_dict()
    assert found["dim"] == [2]
    joined = join(store, [("1", "11", at(5))])
    assert joined["user_item_match__similarity"].tolist() == pytest.approx([0.1])


@pytest.mark.slow
def test_readme_of_a_new_project_is_true(tmp_path: Path) -> None:
    """Every command of it, as it stands there, ends in a report."""
    bash(tmp_path, "sail-features init my_shop")
    shop = tmp_path / "my_shop"
    commands = (shop / "README.md").read_text(encoding="utf-8").split("```")[1]
    assert "feast apply" in commands
    bash(shop, commands)
    summary = json.loads((shop / "build" / "summary.json").read_text())
    assert summary["rows"] > 1_000
    assert (shop / "build" / "report.html").is_file()
