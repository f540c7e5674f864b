"""`everloop track`: MLflow and TensorBoard, brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["track"]


def track(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    once: Annotated[bool, typer.Option(help="End when all that has happened so far is there.")] = False,
) -> None:
    """Bring runs, versions and training curves to MLflow and TensorBoard, as they happen or once."""
    from everloop.loop.tracking import run_tracking

    run_tracking(project, once=once)
