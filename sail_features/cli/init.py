"""The command that starts a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def init(
    name: Annotated[Path, typer.Argument(help="Folder to make; its name is the project's.")],
) -> None:
    """Write a project that works at once: settings, features, example data.

    [bold]sail-features init my_shop[/bold]
    """
    from sail_features.project import create_project

    create_project(name.absolute())
    Console().print(
        f"made {name}: README.md in it says what to type\n  cd {name}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
