"""`everloop monitor`: the journal watched in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["monitor"]


def monitor(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    clock: Annotated[Literal["wall", "event"], typer.Option(help="event: a replay says what time it is.")] = "wall",
) -> None:
    """Watch inputs, answers, guards and losses in the journal; `everloop up` runs it beside the rest."""
    from everloop.loop.monitoring import run_monitor

    run_monitor(project, clock)
