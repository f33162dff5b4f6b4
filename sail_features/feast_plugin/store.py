"""Open, apply and fill the feature store of a repository, from any directory.

``feast apply`` runs as a process of its own: it changes the working directory
and imports the repository's files under their bare names, so that a second
repository in one process would be given the first one's definitions.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from itertools import takewhile
from pathlib import Path
from typing import Final, Self

from feast import FeatureStore, Project
from feast.errors import ProjectObjectNotFoundException
from feast.repo_config import RegistryConfig, RepoConfig, load_repo_config
from sqlalchemy.engine import make_url

from sail_features.errors import ConfigError, SailError
from sail_features.feast_plugin.versions import check_versions

# DuckDB's notice about a call that ibis makes; nothing that a user of ours can mend. Set here,
# after Feast's import, which puts its own filters before all others.
warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)

STORE_CONFIG: Final = "feature_store.yaml"
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FeastError(SailError, RuntimeError):
    """A command of Feast failed."""

    @classmethod
    def command_failed(cls, repo: Path, command: str, output: str) -> Self:
        """Build the error for a command, with what it printed after its traceback."""
        lines = reversed(output.strip().splitlines())
        last = [*takewhile(lambda line: not line.startswith(" "), lines)][::-1]
        return cls.say(
            str(repo),
            f"`feast {command}` failed: " + "\n".join(last[-5:]),
            hint=f"to see all of it: cd {repo} && feast {command}",
        )


def open_feature_store(repo: Path | str) -> FeatureStore:
    """Open the feature store that ``repo`` configures, whatever the working directory.

    Parameters
    ----------
    repo : folder with ``feature_store.yaml``; relative paths in it start there.

    Raises
    ------
    ConfigError
        There is no such file.
    RegistryError
        A newer version of Feast or of this package applied what the registry holds.
    """
    folder = Path(repo).resolve()
    config = _store_config(folder)
    with _alone_at(config.registry) as is_local:
        store = FeatureStore(repo_path=str(folder), config=config)
        if is_local:
            _register_project(store)
        views = (*store.list_feature_views(), *store.list_on_demand_feature_views())
    check_versions(store.project, views)
    return store


def apply_repo(repo: Path) -> str:
    """Register the definitions in ``repo``, and return what ``feast apply`` printed.

    Raises
    ------
    ConfigError
        There is no ``feature_store.yaml``, or a newer version applied what the registry holds.
    FeastError
        A definition is wrong, or a table that it needs isn't there.
    """
    open_feature_store(repo)
    command = [sys.executable, "-m", "feast.cli.cli", "apply"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise FeastError.command_failed(repo.resolve(), "apply", done.stderr or done.stdout)
    return done.stdout


def materialize(store: FeatureStore, as_of: datetime) -> None:
    """Write the newest row of each online view until ``as_of`` into the online store.

    Notes
    -----
    It starts from the beginning each time. ``feast materialize-incremental`` skips
    rows whose content is older than its last run: items that were encoded late,
    or again by another encoder.
    """
    store.materialize(start_date=BEGINNING, end_date=as_of)


def _store_config(repo: Path) -> RepoConfig:
    """Read the configuration, and make the place of a SQLite registry absolute.

    Feast resolves it against the working directory, all other paths against ``repo``.
    """
    path = repo / STORE_CONFIG
    if not path.is_file():
        raise ConfigError.say(
            str(path), "no such file", hint="give the folder of a feature repository"
        )
    config = load_repo_config(repo, path)
    if config.registry.registry_type == "sql":
        config.registry.path = _anchored(config.registry.path, repo)
    return config


@contextmanager
def _alone_at(registry: RegistryConfig) -> Iterator[bool]:
    """Keep others on this machine from opening a SQLite registry at the same time.

    Feast makes the tables of a new one at the first look into it; of two who look at once, one
    would fail. Yields whether there is such a registry.
    """
    database = _sqlite_file(registry.path) if registry.registry_type == "sql" else None
    if not database:  # another database, or one in memory
        yield False
        return
    with Path(f"{database}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield True


def _register_project(store: FeatureStore) -> None:
    """Write a new registry's project: of two who apply to one without it, one would fail."""
    try:
        store.registry.get_project(store.project, allow_cache=False)
    except ProjectObjectNotFoundException:
        description = store.config.project_description or ""
        store.registry.apply_project(Project(name=store.project, description=description))


def _sqlite_file(address: str) -> str | None:
    url = make_url(address)
    return url.database if url.get_backend_name() == "sqlite" else None


def _anchored(address: str, repo: Path) -> str:
    """Return a database's address with a SQLite file's path absolute, its folder made."""
    file = _sqlite_file(address)
    if not file:
        return address
    database = repo / file
    database.parent.mkdir(parents=True, exist_ok=True)
    return make_url(address).set(database=str(database)).render_as_string(hide_password=False)
