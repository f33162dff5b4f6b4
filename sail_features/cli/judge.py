"""Commands that judge the lift: ``eval`` with ``calibrate``, ``gate`` and ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sail_features.cli.options import ConfigPath, RepoPath, load_settings, make_folder
from sail_features.config import SailConfig
from sail_features.errors import ConfigError
from sail_features.tables import TableStore

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def eval_(
    context: typer.Context,
    feature_repo: RepoPath = Path("feature_repo"),
    experiment: Annotated[
        Path | None,
        typer.Option(
            help="An experiment.yaml, or a study of subsets, in place of the workspace's tables."
        ),
    ] = None,
    ablate: Annotated[
        bool,
        typer.Option("--ablate", help="Tell what each match feature is worth: 2 more fits each."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Where report, summary and scores go; default: the workspace."),
    ] = None,
    config: ConfigPath = None,
) -> None:
    """Join all arms through Feast, train the rankers and judge the lift.

    [bold]sail-features eval --feature-repo feature_repo[/bold]
    """
    if context.invoked_subcommand:
        return
    if experiment is not None and out is not None:
        raise ConfigError.say(
            "--out", "an experiment.yaml has its own", hint="set `output:` in the file"
        )
    if experiment is not None and _run_study(experiment):
        return
    loaded = None if experiment else _load_judged(config)
    if out is not None:
        make_folder(out, "--out")
    from ranking_eval.table import print_summary
    from sail_features.judging import run_experiment, run_experiment_file
    from sail_features.steps import StepMeter

    console = Console()
    if experiment:
        outcome = run_experiment_file(experiment, StepMeter(console))
    elif loaded:
        settings, store = loaded
        notes = list(store.latest("impressions").notes)
        outcome = run_experiment(
            store,
            feature_repo,
            settings,
            StepMeter(console),
            notes=notes,
            ablate=ablate,
            folder=out,
        )
    print_summary(outcome.summary, console)
    console.print(f"report: {outcome.report}", markup=False, soft_wrap=True)


@app.command()
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


@app.command()
def gate(
    summary: Annotated[
        Path | None, typer.Option(help="What eval wrote; summary.json of the workspace by default.")
    ] = None,
    config: ConfigPath = None,
) -> None:
    """Say again what the last eval found; exit with 0 for a credible lift, else with 1.

    [bold]sail-features eval && sail-features eval gate && deploy[/bold]
    """
    from ranking_eval.gate import read_verdict

    verdict = read_verdict(summary or load_settings(config).workspace / "summary.json")
    Console().print(f"{verdict.outcome}: {verdict.sentence}", markup=False, soft_wrap=True)
    if not verdict.is_credible:
        raise typer.Exit(1)


@app.command()
def compare(
    earlier: Annotated[Path, typer.Argument(help="Folder that an eval wrote into.")],
    later: Annotated[Path, typer.Argument(help="Folder of the eval to compare with it.")],
    arm: Annotated[str, typer.Option(help="The arm of both.")] = "treatment",
) -> None:
    """Tell whether an arm of a later eval beats that of an earlier one on the same rows.

    [bold]sail-features eval compare build/may build/june[/bold]
    """
    from ranking_eval.formats import format_lift
    from ranking_eval.stored import compare_runs

    console = Console()
    for metric, lift in compare_runs(earlier, later, arm=arm).items():
        console.print(f"{metric}: {format_lift(lift)}", markup=False)


def _run_study(path: Path) -> bool:
    """Run a study and print its table; False where the file is none."""
    from ranking_eval.study_file import is_study

    if not is_study(path):
        return False
    from ranking_eval.table import print_study
    from sail_features.judging import run_study_file
    from sail_features.steps import StepMeter

    console = Console()
    found, report = run_study_file(path, StepMeter(console))
    print_study(found.summary(), console)
    console.print(f"report: {report}", markup=False, soft_wrap=True)
    return True


def _load_judged(config: Path | None) -> tuple[SailConfig, TableStore]:
    """Return settings and tables; raise at once where a table of the arms is missing."""
    settings = load_settings(config)
    store = TableStore(settings.tables)
    for table in (
        "impressions",
        "user_item_baseline",
        "user_item_match",
        "user_item_match_placebo",
    ):
        store.latest(table)
    return settings, store
