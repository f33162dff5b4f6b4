"""The command line: one command a job, all with the same options.

Exit codes: 0 done, 1 failed, 2 wrong configuration or input (nothing long was
started), 75 a process was lost: run it again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from sail_features import columns as c
from sail_features.config import SailConfig, find_config, load_config
from sail_features.errors import ConfigError, SailError
from sail_features.manifest import Manifest
from sail_features.tables import TableStore, format_as_of, parse_as_of

if TYPE_CHECKING:
    from sail_features.datasets.dataset import Dataset
    from sail_features.datasets.synthetic import SyntheticConfig

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Content features for ranking models: encoded on Spark, served by Feast, "
    "judged by AUC lift. Begin with [bold]sail-features demo[/bold].",
)

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
World = Annotated[
    list[str] | None,
    typer.Option(
        "--world",
        metavar="NAME=VALUE",
        help="Of the synthetic world: seed=1, users=5000, impressions=500000, content_lift=0 ...",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")]


def main(arguments: list[str] | None = None) -> None:
    """Run one command; turn our errors into one message and an exit code."""
    try:
        app(args=arguments)
    except SailError as error:
        Console(stderr=True).print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}")
        sys.exit(error.exit_code)


@app.command()
def demo(
    data: Annotated[
        str, typer.Option(help="synthetic, or the folder of a data set.")
    ] = "synthetic",
    config: ConfigPath = None,
    workspace: Annotated[Path, typer.Option(help="Where everything is written.")] = Path(
        "build/demo"
    ),
    feature_repo: Annotated[Path, typer.Option(help="Repository to copy.")] = Path("feature_repo"),
    world: World = None,
) -> None:
    """Run the whole way on one data set and print the lift.

    [bold]sail-features demo --data ../shared/data/online_retail[/bold]
    """
    settings = _load(config)
    from sail_features.demo import run_demo

    settings = settings.model_copy(update={"workspace": workspace.resolve()})
    run_demo(data, settings, feature_repo, Console(), world=_world(world))


@app.command("import")
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
    settings = _load(config)
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
        _report(manifest, console)


@app.command()
def encode(config: ConfigPath = None, as_of: AsOf = None, dry_run: DryRun = False) -> None:
    """Encode new item contents into item_embedding.

    [bold]sail-features encode --as-of 2026-03-31[/bold]
    """

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.progress import watched
        from sail_features.spark.encode import run_encode
        from sail_features.spark.encode_summary import EncodeSummary

        console = Console()
        with watched(console, "encode") as watch:
            manifest = run_encode(spark, store, settings, as_of=until, watch=watch)
        dtype = manifest.choices["dtype"]
        summary = EncodeSummary.model_validate(manifest.lineage["summary"])
        for label, said in summary.describe(f"{dtype.value} ({dtype.reason})"):
            console.print(f"  {label:<12} {said}", markup=False, highlight=False, soft_wrap=True)
        return manifest

    _run_job("encode", job, ["items"], config, as_of, dry_run)


@app.command()
def history(config: ConfigPath = None, as_of: AsOf = None, dry_run: DryRun = False) -> None:
    """Write each user's newest events into user_history.

    [bold]sail-features history --as-of 2026-03-31[/bold]
    """

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.history import run_history

        return run_history(spark, store, settings, as_of=until)

    _run_job("history", job, ["events", "impressions"], config, as_of, dry_run)


@app.command()
def interests(
    config: ConfigPath = None,
    as_of: AsOf = None,
    since: Annotated[
        str | None,
        typer.Option(help="Go on from the run that ended then; default: from the first event."),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(help="Take snapshots this often, for training: 1d, 6h; default: at --as-of."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Mine users' interests into user_interest, one row each time they change.

    [bold]sail-features interests --as-of 2026-03-31 --every 1d[/bold]
    """
    step = _duration(every) if every else None

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.interests import run_interests

        start = parse_as_of(since) if since else None
        return run_interests(spark, store, settings, as_of=until, since=start, every=step)

    tables = ["events", "impressions", "item_embedding"]
    _run_job("interests", job, tables, config, as_of, dry_run)


@app.command()
def baseline(
    config: ConfigPath = None, as_of: AsOf = None, since: Since = None, dry_run: DryRun = False
) -> None:
    """Compute the ordinary features of impressions into user_item_baseline.

    [bold]sail-features baseline --as-of 2026-03-31[/bold]
    """

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.baseline import run_baseline

        return run_baseline(
            spark, store, settings, as_of=until, since=parse_as_of(since) if since else None
        )

    _run_job("baseline", job, ["items", "events", "impressions"], config, as_of, dry_run)


@app.command()
def match(
    config: ConfigPath = None,
    as_of: AsOf = None,
    since: Since = None,
    fit_until: Annotated[
        str | None,
        typer.Option(
            help="Fit histogram edges on impressions before this time: warmup for the end of "
            "the experiment's warm-up, or a date; default: keep those of the last partition."
        ),
    ] = None,
    placebo_seed: Annotated[
        int | None, typer.Option(help="Permute vectors between items; the placebo table.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Compute match features of impressions into user_item_match.

    [bold]sail-features match --as-of 2026-03-31 --fit-until warmup[/bold]
    """

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.match import run_match

        return run_match(
            spark,
            store,
            settings,
            as_of=until,
            since=parse_as_of(since) if since else None,
            fit_until=_fit_until(fit_until, store, settings, until),
            placebo_seed=placebo_seed,
        )

    tables = ["events", "impressions", "item_embedding"]
    _run_job("match", job, tables, config, as_of, dry_run)


RepoPath = Annotated[Path, typer.Option(help="Folder with feature_store.yaml.")]


@app.command()
def apply(feature_repo: RepoPath = Path("feature_repo")) -> None:
    """Register the feature repository; the same as feast apply in its folder.

    [bold]sail-features apply --feature-repo feature_repo[/bold]
    """
    from sail_features.feast_plugin import apply_repo

    Console().print(apply_repo(feature_repo), markup=False, highlight=False)


@app.command()
def materialize(
    feature_repo: RepoPath = Path("feature_repo"), config: ConfigPath = None, as_of: AsOf = None
) -> None:
    """Load the newest rows into the online store.

    [bold]sail-features materialize --as-of 2026-03-31[/bold]
    """
    store = TableStore(_load(config).tables)
    from sail_features.feast_plugin import materialize, open_feature_store

    materialize(open_feature_store(feature_repo), _as_of(as_of, store))


@app.command()
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


eval_app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
app.add_typer(eval_app, name="eval")


@eval_app.callback(invoke_without_command=True)
def eval_(
    context: typer.Context,
    feature_repo: RepoPath = Path("feature_repo"),
    config: ConfigPath = None,
) -> None:
    """Join all arms through Feast, train the rankers and judge the lift.

    [bold]sail-features eval --feature-repo feature_repo[/bold]
    """
    if context.invoked_subcommand:
        return
    settings, store = _load_judged(config)
    from ranking_eval.table import print_summary
    from sail_features.judging import run_experiment
    from sail_features.steps import StepMeter

    console = Console()
    notes = list(store.latest("impressions").notes)
    outcome = run_experiment(store, feature_repo, settings, StepMeter(console), notes=notes)
    print_summary(outcome.summary, console)
    console.print(f"report: {outcome.report}", markup=False, soft_wrap=True)


@eval_app.command()
def calibrate(
    fits: Annotated[int, typer.Option(min=10, help="How often control is fitted.")] = 10,
    feature_repo: RepoPath = Path("feature_repo"),
    config: ConfigPath = None,
) -> None:
    """Measure how much a seed alone changes each metric; eval then adds it to its intervals.

    [bold]sail-features eval calibrate --fits 20[/bold]
    """
    settings, store = _load_judged(config)
    from sail_features.judging import noise_path, run_calibration
    from sail_features.steps import StepMeter

    console = Console()
    noise = run_calibration(store, feature_repo, settings, StepMeter(console), fits=fits)
    for metric, variance in noise.variance.items():
        console.print(f"{metric}: a seed alone moves it by {variance**0.5:.5f}", markup=False)
    console.print(f"written to {noise_path(settings)}", markup=False, soft_wrap=True)


def _load_judged(config: Path | None) -> tuple[SailConfig, TableStore]:
    """Return settings and tables; raise at once where a table of the arms is missing."""
    settings = _load(config)
    store = TableStore(settings.tables)
    for table in (
        "impressions",
        "user_item_baseline",
        "user_item_match",
        "user_item_match_placebo",
    ):
        store.latest(table)
    return settings, store


def _load(path: Path | None) -> SailConfig:
    return load_config(path or find_config(Path.cwd()))


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


def _duration(text: str) -> timedelta:
    """Read a length of time such as 1d or 6h.

    Examples
    --------
    >>> _duration("36h")
    datetime.timedelta(days=1, seconds=43200)
    """
    import pandas as pd

    try:
        length: timedelta = pd.Timedelta(text).to_pytimedelta()
    except ValueError:
        length = timedelta(0)
    if length <= timedelta(0):
        raise ConfigError.say("--every", f"{text!r} is no length of time", hint="write 1d or 6h")
    return length


def _as_of(text: str | None, store: TableStore) -> datetime:
    """Return the time that was given, or that of the newest import."""
    return parse_as_of(text) if text else store.latest("items").as_of


def _fit_until(
    text: str | None, store: TableStore, settings: SailConfig, as_of: datetime
) -> datetime | None:
    if text != "warmup":
        return parse_as_of(text) if text else None
    from ranking_eval import warmup_end

    return warmup_end(store.read("impressions", as_of)[c.EVENT_TIMESTAMP], settings.eval)


def _run_job(
    name: str,
    job: Callable[[Any, TableStore, SailConfig, datetime], Manifest],
    tables: list[str],
    config: Path | None,
    as_of: str | None,
    dry_run: bool,
) -> None:
    """Check settings and inputs, start Spark, run the job and say what it wrote."""
    settings = _load(config)
    store = TableStore(settings.tables)
    until = _as_of(as_of, store)
    found = [manifest for table in tables for manifest in store.covering(table, until)]
    from sail_features.encoders.catalogue import build_encoder

    build_encoder(settings.encoder)
    console = Console()
    if dry_run:
        for manifest in found:
            console.print(f"would read {_name(manifest)}: {manifest.rows:,} rows", markup=False)
        return
    from sail_features.spark.failures import explained
    from sail_features.spark.session import build_session

    with explained(name):
        spark = build_session(settings.spark, f"sail-features {name}")
        try:
            _report(job(spark, store, settings, until), console)
        finally:
            spark.stop()


def _name(manifest: Manifest) -> str:
    return f"{manifest.table} as_of={format_as_of(manifest.as_of)}"


def _report(manifest: Manifest, console: Console) -> None:
    counts = {**manifest.dropped, **manifest.quarantined}
    odd = "".join(f", {count:,} {reason}" for reason, count in counts.items() if count)
    console.print(
        f"wrote {_name(manifest)}: {manifest.rows:,} rows{odd} in {manifest.seconds:.1f} s",
        markup=False,
        highlight=False,
    )


if __name__ == "__main__":
    main()
