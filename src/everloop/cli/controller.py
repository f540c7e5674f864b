"""`everloop controller`: watch, decide and act for a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["controller"]


def controller(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    clock: Annotated[Literal["wall", "event"], typer.Option(help="event: a replay says what time it is.")] = "wall",
) -> None:
    """Run the loop: read the journal, watch, decide, retrain, judge, roll out."""
    from everloop.loop.process import run_project

    run_project(project, clock)
