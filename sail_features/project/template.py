"""Where ``sail.yaml`` and ``feature_repo/`` lie that a new project starts from."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import Final

from sail_features.errors import ConfigError

FEATURE_REPO: Final = "feature_repo"
STORE_CONFIG: Final = "feature_store.yaml"


def template_folder() -> Path:
    """Return the folder that holds ``sail.yaml`` and ``feature_repo/``.

    Raises
    ------
    ConfigError
        Neither a checkout nor an installation has them.
    """
    checkout = Path(__file__).parents[2]
    installed = Path(sysconfig.get_path("data")) / "share" / "sail-features"
    for folder in (checkout, installed):
        if (folder / FEATURE_REPO / STORE_CONFIG).is_file():
            return folder
    raise ConfigError.say(
        str(installed), "no feature repository", hint="install sail-features again with pip"
    )


def copy_feature_repo(source: Path, target: Path) -> None:
    """Copy the declarations of a repository, without databases that Feast made beside them."""
    ignored = shutil.ignore_patterns("*.db", "*.lock", "__pycache__")
    shutil.copytree(source, target, ignore=ignored)
