"""`sail-features init` writes a whole project or nothing, and says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sail_features.cli import main
from sail_features.config import load_config
from sail_features.project import FEATURE_REPO, create_project, template_folder
from sail_features.project.create import ProjectError


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    create_project(tmp_path / "my_shop")
    return tmp_path / "my_shop"


def run(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return ended.value.code


def test_feature_repository_is_this_projects_own_but_for_the_name(shop: Path) -> None:
    for source in (template_folder() / FEATURE_REPO).iterdir():
        if source.suffix != ".py":
            continue
        assert (shop / FEATURE_REPO / source.name).read_bytes() == source.read_bytes()
    config = (shop / FEATURE_REPO / "feature_store.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(config)["project"] == "my_shop"
    assert not list(shop.rglob("*.db"))


def test_settings_are_the_defaults_in_a_workspace_of_its_own(shop: Path) -> None:
    config = load_config(shop / "sail.yaml")
    assert config.workspace == shop / "build"
    ours = load_config(template_folder() / "sail.yaml")
    assert config.model_copy(update={"workspace": ours.workspace}) == ours


def test_example_goes_through_its_mapping(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    files = [f"--{name}=data/{name}.csv" for name in ("items", "events", "impressions")]
    assert run("import", *files, "--mapping=mapping.yaml", "--dry-run") == 0


def test_two_projects_differ_in_their_name_alone(shop: Path, tmp_path: Path) -> None:
    create_project(tmp_path / "second")
    for path in shop.rglob("*"):
        if path.is_file():
            other = tmp_path / "second" / path.relative_to(shop)
            assert other.read_text() == path.read_text().replace("my_shop", "second")


@pytest.mark.parametrize("name", ["my shop", "_shop", "-shop", "shöp", "a.b", ".."])
def test_name_that_feast_would_refuse_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProjectError, match="letters, digits"):
        create_project(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_place_that_is_taken_is_left_as_it_is(shop: Path, tmp_path: Path) -> None:
    (shop / "sail.yaml").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("my_shop", "file"):
        with pytest.raises(ProjectError, match="is there already"):
            create_project(tmp_path / name)
    assert (shop / "sail.yaml").read_text() == "mine"


@pytest.mark.parametrize("parent", ["nowhere", "file", "/proc"])
def test_place_where_nothing_can_be_written_is_refused(
    tmp_path: Path, parent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run("init", str(tmp_path / parent / "shop")) == 2
    told = capsys.readouterr().err
    assert "can't be written" in told
    assert "Hint:" in told
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_project_that_fails_halfway_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sail_features.project.create.write_example", full)
    with pytest.raises(ProjectError, match="No space left"):
        create_project(tmp_path / "shop")
    assert not list(tmp_path.iterdir())
