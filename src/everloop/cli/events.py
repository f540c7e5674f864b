"""`everloop events`: the loop's door for Prometheus and webhooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["events"]


def events(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
) -> None:
    """Show the loop's metrics, and take events and webhooks by HTTP, until Ctrl-C or SIGTERM."""
    from everloop.loop.http import run_events

    run_events(project)
