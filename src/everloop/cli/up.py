"""`everloop up`: server and controller together, restarted when they die, one line an event."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["up"]


def up(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    port: Annotated[int | None, typer.Option(help="Default: \\[serving] port.")] = None,
) -> None:
    """Run the project: server and controller under one supervisor, until Ctrl-C or SIGTERM."""
    from everloop.loop.up import run_up

    run_up(project, port, lambda line: print(line, flush=True))
