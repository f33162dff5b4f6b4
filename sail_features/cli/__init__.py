"""The command line: one command a job, all with the same options.

Exit codes: 0 done, 1 failed, 2 wrong configuration or input (nothing long was
started), 75 a process was lost: run it again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from sail_features.cli import data, init, jobs, judge, repository, skew, train
from sail_features.errors import SailError

COMMANDS: Final[Mapping[str, Callable[..., Any]]] = {
    "init": init.init,
    "demo": data.demo,
    "import": data.import_,
    "encode": jobs.encode,
    "history": jobs.history,
    "interests": jobs.interests,
    "clusters": jobs.clusters,
    "pairs": jobs.pairs,
    "train": train.train,
    "baseline": jobs.baseline,
    "match": jobs.match,
    "apply": repository.apply,
    "materialize": repository.materialize,
    "doctor": repository.doctor,
    "skew": skew.skew,
}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Content features for ranking models: encoded on Spark, served by Feast, "
    "judged by AUC lift. Begin with [bold]sail-features demo[/bold].",
)
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(judge.app, name="eval")


def main(arguments: list[str] | None = None) -> None:
    """Run one command; turn our errors into one message and an exit code."""
    try:
        app(args=arguments)
    except SailError as error:
        message = f"[red]{type(error).__name__}[/red]: {escape(str(error))}"
        Console(stderr=True).print(message, soft_wrap=True)
        sys.exit(error.exit_code)
