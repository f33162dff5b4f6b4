"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sail_features.config import SailConfig, find_config, load_config
from sail_features.errors import ConfigError
from sail_features.manifest import Manifest
from sail_features.tables import TableStore, format_as_of, parse_as_of

ConfigPath = Annotated[
    Path | None, typer.Option("--config", help="sail.yaml; default: the nearest one above.")
]
AsOf = Annotated[
    str | None,
    typer.Option(help="Exclusive end of the data, and the partition's name: 2026-03-31."),
]
Since = Annotated[
    str | None, typer.Option(help="Start of the impressions; default: all before --as-of.")
]
GoOnSince = Annotated[
    str | None,
    typer.Option(
        "--since", help="Go on from the run that ended then; default: from the first event."
    ),
]
Every = Annotated[
    str | None,
    typer.Option(help="Take snapshots this often, for training: 1d, 6h; default: at --as-of."),
]
World = Annotated[
    list[str] | None,
    typer.Option(
        "--world",
        metavar="NAME=VALUE",
        help="Of the synthetic world: seed=1, users=5000, impressions=500000, content_lift=0 ...",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")]
RepoPath = Annotated[Path, typer.Option(help="Folder with feature_store.yaml.")]


def load_settings(path: Path | None) -> SailConfig:
    """Return the settings of ``path``, or of the nearest ``sail.yaml``."""
    return load_config(path or find_config(Path.cwd()))


def resolve_as_of(text: str | None, store: TableStore) -> datetime:
    """Return the time that was given, or that of the newest import."""
    return parse_as_of(text) if text else store.latest("items").as_of


def name_of(manifest: Manifest) -> str:
    """Return a partition's table and time."""
    return f"{manifest.table} as_of={format_as_of(manifest.as_of)}"


def report(manifest: Manifest, console: Console) -> None:
    """Print what a job wrote."""
    counts = {**manifest.dropped, **manifest.quarantined}
    odd = "".join(f", {count:,} {reason}" for reason, count in counts.items() if count)
    console.print(
        f"wrote {name_of(manifest)}: {manifest.rows:,} rows{odd} in {manifest.seconds:.1f} s",
        markup=False,
        highlight=False,
    )


def make_folder(folder: Path, option: str) -> None:
    """Make the folder that an option names, before the work that it is for.

    Raises
    ------
    ConfigError
        It can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError.say(
            option, f"{folder} can't be made: {error}", hint="give a folder that can be written to"
        ) from error
