"""Commands on a feature repository: register, fill, examine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sail_features.cli.options import AsOf, ConfigPath, RepoPath, load_settings, resolve_as_of
from sail_features.tables import TableStore


def apply(feature_repo: RepoPath = Path("feature_repo")) -> None:
    """Register the feature repository; the same as feast apply in its folder.

    [bold]sail-features apply --feature-repo feature_repo[/bold]
    """
    from sail_features.feast_plugin import apply_repo

    Console().print(apply_repo(feature_repo), markup=False, highlight=False)


def materialize(
    feature_repo: RepoPath = Path("feature_repo"), config: ConfigPath = None, as_of: AsOf = None
) -> None:
    """Load the newest rows into the online store.

    [bold]sail-features materialize --as-of 2026-03-31[/bold]
    """
    store = TableStore(load_settings(config).tables)
    from sail_features.feast_plugin import materialize, open_feature_store

    materialize(open_feature_store(feature_repo), resolve_as_of(as_of, store))


def doctor(
    repo: Annotated[Path, typer.Option(help="Folder with feature_store.yaml.")] = Path(
        "feature_repo"
    ),
) -> None:
    """Probe the offline store of a feature repository; nothing of it is touched.

    [bold]sail-features doctor --repo feature_repo[/bold]
    """
    from sail_features.feast_plugin.doctor import examine, findings_table

    store, findings = examine(repo)
    Console().print(findings_table(store, findings))
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)
