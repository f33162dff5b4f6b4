"""The command that holds what was served against what it should have been."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from rich.console import Console

from sail_features import columns as c
from sail_features.cli.options import ConfigPath, RepoPath, load_settings
from sail_features.config import SailConfig
from sail_features.errors import InputError
from sail_features.schemas import TIMESTAMP
from sail_features.tables import TableStore, parse_as_of


def skew(
    log: Annotated[
        Path | None,
        typer.Option(help="Parquet of served features; default: where --service is logged to."),
    ] = None,
    service: Annotated[
        str, typer.Option(help="Features to recompute: those that the ranker is trained on.")
    ] = "ranker_treatment",
    feature_repo: RepoPath = Path("feature_repo"),
    config: ConfigPath = None,
    since: Annotated[str | None, typer.Option(help="Start of the requests.")] = None,
    as_of: Annotated[str | None, typer.Option(help="Exclusive end of the requests.")] = None,
    sample: Annotated[int, typer.Option(min=1, help="At most so many rows, at random.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    reference: Annotated[
        Path | None,
        typer.Option(help="Parquet of training rows: keys, event_timestamp; default: impressions."),
    ] = None,
    relative_tolerance: Annotated[
        float, typer.Option(min=0, help="Let pass this share of the value; 0: equal float32.")
    ] = 0.0,
    max_mismatch: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rows that may differ.")
    ] = 0.01,
    max_drift: Annotated[float, typer.Option(min=0, help="Population stability index.")] = 0.25,
    output: Annotated[
        Path | None, typer.Option(help="Folder of skew.json and skew.html; default: workspace.")
    ] = None,
) -> None:
    """Compare served features with the same recomputed; exit with 1 beyond a limit.

    [bold]sail-features skew --log served.parquet[/bold]
    """
    settings = load_settings(config)
    from sail_features.feast_plugin import open_feature_store
    from sail_features.feast_plugin.feature_log import logging_folder
    from sail_features.feast_plugin.skew import measure_skew
    from sail_features.skew import Limits, read_served_log

    store = open_feature_store(feature_repo)
    served = read_served_log(
        log or logging_folder(store, service),
        since=parse_as_of(since) if since else None,
        until=parse_as_of(as_of) if as_of else None,
        sample=sample,
        seed=seed,
    )
    if reference:
        trained = _read_reference(reference)
    else:
        trained = _read_impressions(settings, pc.min(served.times).as_py())
    report = measure_skew(
        store,
        service,
        served,
        lag=settings.history.lag,
        reference=_sample(trained, sample, seed),
        relative_tolerance=relative_tolerance,
        limits=Limits(max_mismatch, max_drift),
    )
    console = Console()
    console.print(report.table())
    for note in report.notes:
        console.print(note, style="dim", markup=False)
    data, page = report.write(output or settings.workspace)
    console.print(f"{report.verdict}\nreport: {page}, {data}", markup=False, soft_wrap=True)
    if not report.passed:
        raise typer.Exit(1)


def _read_reference(path: Path) -> pa.Table:
    try:
        rows = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError.file_unreadable(path, error, "Parquet") from error
    if c.EVENT_TIMESTAMP not in rows.column_names:
        raise InputError.missing_column(str(path), c.EVENT_TIMESTAMP, rows.column_names)
    kind = rows.schema.field(c.EVENT_TIMESTAMP).type
    if not (pa.types.is_timestamp(kind) and kind.tz):
        raise InputError.wrong_type(str(path), c.EVENT_TIMESTAMP, kind, "timestamps with a zone")
    return rows


def _read_impressions(settings: SailConfig, before: datetime) -> pa.Table | None:
    """Return the impressions after the ranker's warm-up and before the log begins, if any."""
    store = TableStore(settings.tables)
    if not store.manifests("impressions"):
        return None
    from ranking_eval import warmup_end

    shown = store.read("impressions")
    times = shown[c.EVENT_TIMESTAMP]
    begin = warmup_end(times, settings.eval)
    held = pc.and_(
        pc.greater_equal(times, pa.scalar(begin, TIMESTAMP)),
        pc.less(times, pa.scalar(before, TIMESTAMP)),
    )
    return shown.filter(held)


def _sample(rows: pa.Table | None, count: int, seed: int) -> pa.Table | None:
    """Return at most ``count`` of the rows, drawn at random, in their order."""
    if rows is None or rows.num_rows <= count:
        return rows
    rng = np.random.default_rng(seed)
    return rows.take(pa.array(np.sort(rng.choice(rows.num_rows, count, replace=False))))
