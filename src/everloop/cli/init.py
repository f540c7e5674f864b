"""`everloop init`: a project to own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["init"]


def init(
    folder: Annotated[Path, typer.Argument(help="The new project's folder; its name is the project's.")],
    template: Annotated[str, typer.Option(help="minimal or bike-sharing.")] = "minimal",
) -> None:
    """Write a new project: settings, model, tests, README, a git repository."""
    from everloop.loop.projects import create_project

    committed = create_project(folder, template)
    print(f"{folder}: a {template} project{'' if committed else ' (git did not take it: commit it yourself)'}")
    print(f"next: put rows into {folder / 'data'}, then `everloop backtest --project {folder}`")
