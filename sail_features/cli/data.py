"""Commands that bring data in: the demo on a whole data set, and imports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sail_features.cli.options import AsOf, ConfigPath, DryRun, Since, World, load_settings, report
from sail_features.errors import ConfigError
from sail_features.tables import TableStore, format_as_of, parse_as_of

if TYPE_CHECKING:
    from sail_features.datasets.dataset import Dataset
    from sail_features.datasets.synthetic import SyntheticConfig


def demo(
    data: Annotated[
        str, typer.Option(help="synthetic, or the folder of a data set.")
    ] = "synthetic",
    config: ConfigPath = None,
    workspace: Annotated[Path, typer.Option(help="Where everything is written.")] = Path(
        "build/demo"
    ),
    feature_repo: Annotated[
        Path | None, typer.Option(help="Repository to copy; default: the package's own.")
    ] = None,
    world: World = None,
) -> None:
    """Run the whole way on one data set and print the lift.

    [bold]sail-features demo --data ../shared/data/online_retail[/bold]
    """
    settings = load_settings(config)
    from sail_features.demo import run_demo
    from sail_features.project import FEATURE_REPO, template_folder

    settings = settings.model_copy(update={"workspace": workspace.resolve()})
    repo = feature_repo or template_folder() / FEATURE_REPO
    run_demo(data, settings, repo, Console(), world=_world(world))


def import_(
    source: Annotated[
        str | None, typer.Option(help="A public data set's folder, or synthetic.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="Your items: Parquet, CSV, JSON lines.")
    ] = None,
    events: Annotated[Path | None, typer.Option(help="Your events.")] = None,
    impressions: Annotated[Path | None, typer.Option(help="Your impressions, if logged.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="mapping.yaml: your column names.")] = None,
    negatives: Annotated[
        int | None, typer.Option(help="Sampled negatives a positive, without impressions.")
    ] = None,
    config: ConfigPath = None,
    as_of: AsOf = None,
    since: Since = None,
    seed: Annotated[int, typer.Option(help="Of sampled negatives.")] = 0,
    world: World = None,
    dry_run: DryRun = False,
) -> None:
    """Bring items, events and impressions into the tables.

    [bold]sail-features import --items items.csv --events events.csv --mapping mapping.yaml[/bold]
    """
    settings = load_settings(config)
    from sail_features.datasets.publish import next_midnight, publish_dataset

    if source is not None:
        if items or events or impressions or mapping:
            raise ConfigError.say(
                "import", "both --source and files were given", hint="give one of the two"
            )
        from sail_features.datasets.catalogue import load_dataset

        dataset = load_dataset(source, world=_world(world))
    else:
        dataset = _load_own_tables(items, events, impressions, mapping, negatives, seed)
    until = parse_as_of(as_of) if as_of else next_midnight(dataset)
    console = Console()
    for note in dataset.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    for policy, count in sorted(dataset.dropped.items()):
        console.print(f"policy {policy}: {count:,} rows", highlight=False, markup=False)
    if dry_run:
        console.print(f"would import {dataset.name} as of {format_as_of(until)}", markup=False)
        return
    start = parse_as_of(since) if since else None
    written = publish_dataset(TableStore(settings.tables), dataset, as_of=until, since=start)
    for manifest in written.values():
        report(manifest, console)


def _load_own_tables(
    items: Path | None,
    events: Path | None,
    impressions: Path | None,
    mapping: Path | None,
    negatives: int | None,
    seed: int,
) -> Dataset:
    if items is None or events is None or mapping is None:
        raise ConfigError.say(
            "import",
            "neither --source nor all of --items, --events and --mapping were given",
            hint="give --source FOLDER for a public data set, or your three files",
        )
    from sail_features.datasets.mapping import load_mapping
    from sail_features.datasets.user_tables import load_user_tables

    return load_user_tables(
        items,
        events,
        impressions,
        load_mapping(mapping),
        negatives_per_positive=negatives,
        seed=seed,
    )


def _world(assignments: list[str] | None) -> SyntheticConfig:
    """Read ``--world name=value`` options into the synthetic world's settings."""
    from pydantic import ValidationError

    from sail_features.datasets.synthetic import SyntheticConfig

    given = dict(pair.partition("=")[::2] for pair in assignments or ())
    try:
        return SyntheticConfig.model_validate(given)
    except ValidationError as error:
        raise ConfigError.unreadable("--world", error) from error
