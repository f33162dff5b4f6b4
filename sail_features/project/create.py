"""Write a project that works at once, whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Final, Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sail_features.config import CONFIG_NAME
from sail_features.errors import ConfigError
from sail_features.project.example import write_example
from sail_features.project.template import (
    FEATURE_REPO,
    STORE_CONFIG,
    copy_feature_repo,
    template_folder,
)

WORKSPACE: Final = "build"
TEXTS: Final = {
    "README.md.jinja": "README.md",
    "mapping.yaml.jinja": "mapping.yaml",
    "gitignore.jinja": ".gitignore",
}


class ProjectError(ConfigError):
    """A project can't be written there, or under that name."""

    @classmethod
    def bad_name(cls, name: str) -> Self:
        """Build the error for a name that Feast takes for no project."""
        return cls.say(
            f"project {name!r}",
            "a name is letters, digits, _ and -, and begins with a letter or digit",
            hint="choose another: sail-features init my_shop",
        )

    @classmethod
    def exists(cls, folder: Path) -> Self:
        """Build the error for a place that isn't free."""
        return cls.say(
            str(folder), "is there already", hint="give another name, or remove it first"
        )

    @classmethod
    def not_writable(cls, folder: Path, reason: OSError) -> Self:
        """Build the error for a place where nothing can be written."""
        return cls.say(
            str(folder),
            f"can't be written: {reason.strerror or reason}",
            hint="run the command in a folder of your own",
        )


def create_project(folder: Path) -> None:
    """Write a project into ``folder``, whose name becomes that of the Feast project.

    Raises
    ------
    ProjectError
        The name is none, something is there already, or nothing can be written there.
    """
    name = folder.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ProjectError.bad_name(name)
    if folder.exists() or folder.is_symlink():
        raise ProjectError.exists(folder)
    template = template_folder()
    try:
        staged = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError as error:
        raise ProjectError.not_writable(folder, error) from error
    try:
        _write(staged, template, name)
        staged.chmod(0o755)
        staged.rename(folder)
    except OSError as error:
        raise ProjectError.not_writable(folder, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _write(folder: Path, template: Path, name: str) -> None:
    copy_feature_repo(template / FEATURE_REPO, folder / FEATURE_REPO)
    _set(folder / FEATURE_REPO / STORE_CONFIG, "project", name)
    shutil.copyfile(template / CONFIG_NAME, folder / CONFIG_NAME)
    _set(folder / CONFIG_NAME, "workspace", WORKSPACE)
    environment = Environment(  # noqa: S701  # Markdown and YAML of a checked name
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    for source, target in TEXTS.items():
        text = environment.get_template(source).render(name=name)
        (folder / target).write_text(text, encoding="utf-8")
    write_example(folder / "data")


def _set(path: Path, key: str, value: str) -> None:
    """Give one key of a YAML file another value; comments stay."""
    text, changed = re.subn(
        rf"^{key}: .*$", f"{key}: {value}", path.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert changed == 1, f"{path} has {key} once"  # noqa: S101
    path.write_text(text, encoding="utf-8")
