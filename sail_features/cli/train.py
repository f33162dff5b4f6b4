"""The command that trains an encoder on the workspace's items and events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sail_features.cli.options import (
    AsOf,
    ConfigPath,
    DryRun,
    load_settings,
    make_folder,
    resolve_as_of,
)
from sail_features.config import SailConfig
from sail_features.errors import ConfigError
from sail_features.tables import TableStore, format_as_of, parse_as_of

if TYPE_CHECKING:
    from sail_features.encoders.omni.inputs import TowerTable
    from sail_features.training.recipe import ModelRecipe, Recipe, TowerRecipe
    from sail_features.training.sources import Sources
    from sail_features.training.stages import OnStep, StageReport


def train(
    recipe: Annotated[
        Path, typer.Option(help="The model, its data sets and stages: see train.yaml.")
    ] = Path("train.yaml"),
    config: ConfigPath = None,
    as_of: AsOf = None,
    trained_until: Annotated[
        str | None,
        typer.Option(help="Train on nothing at or after this time; default: --as-of."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where models go; default: models below the workspace.")
    ] = None,
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate", help="Measure the embedding before and after each stage."),
    ] = False,
    track: Annotated[
        bool, typer.Option(help="Log curves and measures to the workspace's mlflow.db.")
    ] = True,
    dry_run: DryRun = False,
) -> None:
    """Train an omni-modal encoder in stages; run again, it goes on where it was killed.

    [bold]sail-features train --recipe train.yaml --trained-until 2026-01-31 --evaluate[/bold]

    Several processes: [bold]torchrun --nproc-per-node 2 jobs/train.py --recipe ...[/bold]
    """
    from sail_features.training.distributed import main_first, process_group, rank
    from sail_features.training.measuring import build_measure
    from sail_features.training.recipe import load_recipe
    from sail_features.training.stages import run_stages
    from sail_features.training.tracking import log_measures

    settings = load_settings(config)
    asked = _with_towers(load_recipe(recipe), settings)
    folder = out or settings.workspace / "models"
    if not dry_run:
        make_folder(folder, "--out")
    with process_group():
        console = Console(quiet=rank() > 0)
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        with main_first():
            sources = _open_sources(asked, settings, as_of, trained_until, say, dry_run)
        if sources is None:
            return
        measure = build_measure(asked, sources, say) if evaluate else None
        if dry_run:
            _check_all(asked, sources, console)
            return
        database = settings.workspace / "mlflow.db" if track and rank() == 0 else None
        device, why = _choose_device()
        console.print(f"training on {device}: {why}", markup=False, highlight=False)

        @contextmanager
        def watch(stage: str, described: Mapping[str, Any]) -> Iterator[OnStep]:
            with _watched(console, stage, described, database) as on_step:
                yield on_step

        reports = run_stages(asked, sources, folder, watch, measure=measure, device=device)
        if database is not None and measure is not None:
            log_measures(database, {report.name: report.measured for report in reports})
        _summarise(reports, folder, console)


def _with_towers(recipe: Recipe, settings: SailConfig) -> Recipe:
    """Return the recipe with towers that can serve; none named: the encoder of ``sail.yaml``."""
    from sail_features.encoders.devices import resolve_encoder_config

    towers = recipe.model.towers or _default_towers(recipe.model, settings)
    for name, tower in towers.items():
        if tower.kind == "sail" or tower.backend != "torch":
            raise ConfigError.say(
                f"train, {name} tower",
                f"is of kind {tower.kind} and backend {tower.backend}",
                hint="give model.towers in the recipe encoders of backend torch that aren't "
                "trained here, for example {text: {kind: transformer_text}}",
            )
    resolved = {name: resolve_encoder_config(tower)[0] for name, tower in towers.items()}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"towers": resolved})})


def _default_towers(model: ModelRecipe, settings: SailConfig) -> dict[str, TowerRecipe]:
    """Return the towers of the preset, or the encoder of ``sail.yaml`` unless words are read."""
    from sail_features.training.first_model import settings_of
    from sail_features.training.recipe import TowerRecipe

    asked, own = settings_of(model), settings.encoder
    if model.start_from is None and asked.towers:
        shared = set(TowerRecipe.model_fields) - {"dim"}
        return {
            name: TowerRecipe(media_root=own.media_root, **tower.model_dump(include=shared))
            for name, tower in asked.towers.items()
        }
    if asked.text_tokens:
        return {}
    modality = own.kind if own.kind in ("vision", "audio") else "text"
    return {modality: TowerRecipe.model_validate(own.model_dump())}


def _open_sources(
    recipe: Recipe,
    settings: SailConfig,
    as_of: str | None,
    trained_until: str | None,
    say: Callable[[str], None],
    dry_run: bool,
) -> Sources | None:
    """Return all that training reads; None where a dry run would have to encode items first."""
    from sail_features.encoders.catalogue import build_encoder
    from sail_features.training.first_model import check_model, settings_of
    from sail_features.training.sources import Sources
    from sail_features.training.tower_vectors import (
        Known,
        check_tower,
        find_tower_vectors,
        read_tower_vectors,
        read_words,
    )
    from sail_features.training.words import Words

    store = TableStore(settings.tables)
    until = resolve_as_of(as_of, store)
    trained = parse_as_of(trained_until, "--trained-until") if trained_until else until
    _check_times(trained, until)
    known = Known(until, trained)
    for name, tower in recipe.model.towers.items():
        check_tower(name, tower)
    check_model(recipe.model)
    if dry_run:
        towers = recipe.model.towers.items()
        missing = [name for name, tower in towers if not find_tower_vectors(store, tower, known)]
        for name in missing:
            say(f"would encode the items' {name} first; the rest can be checked after that")
        if missing:
            return None
    tables: dict[str, TowerTable] = {
        name: read_tower_vectors(store, tower, known, say)
        for name, tower in recipe.model.towers.items()
    }
    text = recipe.model.towers.get("text")
    encoder = build_encoder(text) if text is not None else None
    model, words = settings_of(recipe.model), None
    if model.text_tokens:
        ids, texts = read_words(store, recipe.model.text_fields, known)
        words = Words(ids, texts, model, recipe.model.start_from)
    return Sources(store, tables, encoder, trained, until, recipe.seed, words)


def _check_times(trained: datetime, until: datetime) -> None:
    if trained > until:
        raise ConfigError.say(
            "--trained-until",
            f"{format_as_of(trained)} is after --as-of {format_as_of(until)}",
            hint="give an earlier time; events between the two measure the model",
        )


def _check_all(recipe: Recipe, sources: Sources, console: Console) -> None:
    """Build the model and every data set, and say how large they are."""
    from sail_features.training.first_model import build_model
    from sail_features.training.stages import check_stages

    model = build_model(recipe.model, sources, recipe.seed)
    total = model.count_parameters()["total"]
    lines = [f"would train {total:,} parameters on {len(sources.inputs):,} items"]
    for stage, built in zip(recipe.stages, check_stages(recipe, sources, model), strict=True):
        sizes = ", ".join(f"{one.name} {one.size:,}" for one in built)
        lines.append(f"stage {stage.name}: {stage.train.steps:,} steps on {sizes}")
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _choose_device() -> tuple[str, str]:
    """Return where to train, and why."""
    import os

    import torch

    if torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}", "this machine has a GPU"
    return "cpu", "this machine has no GPU"


@contextmanager
def _watched(
    console: Console, stage: str, described: Mapping[str, Any], database: Path | None
) -> Iterator[OnStep]:
    """Show a stage's progress, and log its curves where there is a database."""
    from sail_features.progress import Progress, watched
    from sail_features.training.loop import StepReport
    from sail_features.training.tracking import tracked_stage

    begun = time.monotonic()
    batch = described["train"]["batch_size"]
    with (
        watched(console, f"stage {stage}") as show,
        tracked_stage(database, stage, described) as log,
    ):

        def on_step(report: StepReport) -> None:
            done, total = (report.step + 1) * batch, report.steps * batch
            show(Progress(done, total, time.monotonic() - begun))
            log(report)

        yield on_step


def _summarise(reports: list[StageReport], folder: Path, console: Console) -> None:
    """Print what each stage did, how the measures changed, and what to do next."""
    from sail_features.training.evaluation.evaluate import show_change

    table = Table("stage", "steps", "from", "seconds", "data", "weight", "last loss")
    for report in reports:
        for name, weight in report.weights.items():
            loss = report.train.losses.get(name)
            done = (str(report.train.steps), str(report.train.resumed_from))
            said = "" if loss is None else f"{loss:.4f}"
            seconds = f"{report.train.seconds:.1f}"
            table.add_row(report.name, *done, seconds, name, f"{weight:.3g}", said)
    console.print(table)
    measured = {report.name: report.measured for report in reports if report.measured}
    if measured:
        console.print(show_change(measured))
    console.print(
        f"model: {folder / 'model'}\nto use it: encoder: {{kind: sail, model: {folder / 'model'}}} "
        "in sail.yaml, then sail-features encode",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
