"""Commands that run one Spark job each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sail_features import columns as c
from sail_features.cli.options import (
    AsOf,
    ConfigPath,
    DryRun,
    Every,
    GoOnSince,
    Since,
    load_settings,
    name_of,
    report,
    resolve_as_of,
)
from sail_features.config import SailConfig
from sail_features.errors import ConfigError
from sail_features.manifest import Manifest
from sail_features.tables import TableStore, parse_as_of


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


def history(config: ConfigPath = None, as_of: AsOf = None, dry_run: DryRun = False) -> None:
    """Write each user's newest events into user_history.

    [bold]sail-features history --as-of 2026-03-31[/bold]
    """

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.history import run_history

        return run_history(spark, store, settings, as_of=until)

    _run_job("history", job, ["events", "impressions"], config, as_of, dry_run)


def interests(
    config: ConfigPath = None,
    as_of: AsOf = None,
    since: GoOnSince = None,
    every: Every = None,
    dry_run: DryRun = False,
) -> None:
    """Mine users' interests into user_interest, one row each time they change.

    [bold]sail-features interests --as-of 2026-03-31 --every 1d[/bold]
    """
    start, step = _moment(since), _duration(every, "--every") if every else None

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.interests import run_interests

        return run_interests(spark, store, settings, as_of=until, since=start, every=step)

    tables = ["events", "impressions", "item_embedding"]
    _run_job("interests", job, tables, config, as_of, dry_run)


def clusters(
    config: ConfigPath = None,
    as_of: AsOf = None,
    since: GoOnSince = None,
    every: Every = None,
    fit_until: Annotated[
        str | None,
        typer.Option(
            help="Fit the clusters on what was known before this time: warmup for the end of "
            "the experiment's warm-up, or a date; default: keep those of the last partition."
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Count users' likes by global cluster into user_cluster, one row each time they change.

    [bold]sail-features clusters --as-of 2026-03-31 --fit-until warmup --every 1d[/bold]
    """
    start, step = _moment(since), _duration(every, "--every") if every else None

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.clusters import run_clusters

        return run_clusters(
            spark,
            store,
            settings,
            as_of=until,
            since=start,
            every=step,
            fit_until=_fit_until(fit_until, store, settings, until),
        )

    _run_job("clusters", job, ["events", "item_embedding"], config, as_of, dry_run)


def pairs(
    config: ConfigPath = None,
    as_of: AsOf = None,
    trained_until: Annotated[
        str | None, typer.Option(help="Leave out events at or after this time; default: --as-of.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Mine items that the same users engage with into item_pair, to train an encoder on.

    Where events have a column search_query, searches and what followed go to search_pair.

    [bold]sail-features pairs --trained-until 2026-01-31[/bold]
    """
    end = _moment(trained_until)

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.co_engagement import run_pairs

        return run_pairs(spark, store, settings, as_of=until, trained_until=end)

    _run_job("pairs", job, ["events"], config, as_of, dry_run)


def baseline(
    config: ConfigPath = None, as_of: AsOf = None, since: Since = None, dry_run: DryRun = False
) -> None:
    """Compute the ordinary features of impressions into user_item_baseline.

    [bold]sail-features baseline --as-of 2026-03-31[/bold]
    """
    start = _moment(since)

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.baseline import run_baseline

        return run_baseline(spark, store, settings, as_of=until, since=start)

    _run_job("baseline", job, ["items", "events", "impressions"], config, as_of, dry_run)


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
    random_seed: Annotated[
        int | None, typer.Option(help="Draw a random vector for each item; the random table.")
    ] = None,
    delay: Annotated[
        str | None,
        typer.Option(help="Cut histories so much earlier, such as 1h; the lagged table."),
    ] = None,
    skip_newest: Annotated[
        int,
        typer.Option(min=0, help="Leave out so many of the newest events; the lagged table, too."),
    ] = 0,
    candidates: Annotated[
        Path | None,
        typer.Option(
            help="Match these (user_id, item_id) as of --as-of, or of their event_timestamp, into "
            "user_item_candidate: a Parquet file or folder."
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Compute match features of impressions into user_item_match.

    [bold]sail-features match --as-of 2026-03-31 --fit-until warmup[/bold]
    """
    tables = ["events", "impressions", "item_embedding"]
    controls: dict[str, object] = {
        "--placebo-seed": placebo_seed,
        "--random-seed": random_seed,
        "--delay" if delay else "--skip-newest": delay or skip_newest or None,
    }
    controls = {option: value for option, value in controls.items() if value is not None}
    if len(controls) > 1:
        raise ConfigError.say(
            "match",
            f"{' and '.join(controls)} were given at once",
            hint="each makes a table of its own: run one after the other",
        )
    start, earlier = _moment(since), _duration(delay, "--delay") if delay else timedelta(0)
    if candidates is not None:
        if since or fit_until or controls:
            raise ConfigError.say(
                "match",
                "--candidates was given with --since, --fit-until or a control's option",
                hint="candidates get the features of the newest user_item_match: leave these out",
            )
        _match_candidates(candidates, [*tables, "user_item_match"], config, as_of, dry_run)
        return

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.history import HistoryCut
        from sail_features.placebo import Placebo
        from sail_features.spark.match import run_match

        placebo = None if placebo_seed is None else Placebo("permuted", placebo_seed)
        placebo = placebo if random_seed is None else Placebo("random", random_seed)
        return run_match(
            spark,
            store,
            settings,
            as_of=until,
            since=start,
            fit_until=_fit_until(fit_until, store, settings, until),
            placebo=placebo,
            cut=HistoryCut(earlier, skip_newest),
        )

    _run_job("match", job, tables, config, as_of, dry_run)


def _match_candidates(
    path: Path, tables: list[str], config: Path | None, as_of: str | None, dry_run: bool
) -> None:
    from sail_features.candidates import CandidateSet

    def job(spark: Any, store: TableStore, settings: SailConfig, until: datetime) -> Manifest:
        from sail_features.spark.match_candidates import run_match_candidates

        return run_match_candidates(spark, store, settings, CandidateSet.open(path, store, until))

    store = TableStore(load_settings(config).tables)
    CandidateSet.open(path, store, resolve_as_of(as_of, store))  # before Spark starts
    _run_job("match", job, tables, config, as_of, dry_run)


def _moment(text: str | None) -> datetime | None:
    """Read an option's time before Spark starts; None where it wasn't given."""
    return parse_as_of(text) if text else None


def _duration(text: str, option: str) -> timedelta:
    """Read a length of time such as 1d or 6h.

    Examples
    --------
    >>> _duration("36h", "--every")
    datetime.timedelta(days=1, seconds=43200)
    """
    import pandas as pd

    try:
        length: timedelta = pd.Timedelta(text).to_pytimedelta()
    except ValueError:
        length = timedelta(0)
    if length <= timedelta(0):
        raise ConfigError.say(option, f"{text!r} is no length of time", hint="write 1d or 6h")
    return length


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
    settings = load_settings(config)
    store = TableStore(settings.tables)
    until = resolve_as_of(as_of, store)
    found = [manifest for table in tables for manifest in store.covering(table, until)]
    from sail_features.encoders.catalogue import build_encoder

    build_encoder(settings.encoder)
    console = Console()
    if dry_run:
        for manifest in found:
            console.print(f"would read {name_of(manifest)}: {manifest.rows:,} rows", markup=False)
        return
    from sail_features.spark.failures import explained
    from sail_features.spark.session import build_session

    with explained(name):
        spark = build_session(settings.spark, f"sail-features {name}")
        try:
            report(job(spark, store, settings, until), console)
        finally:
            spark.stop()
