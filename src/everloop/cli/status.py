"""`everloop status`: what is served, judged and decided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["status"]


def status(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is served, what is being judged, what was decided last, and who runs the project."""
    from everloop.cli.output import show_json, show_record
    from everloop.loop.trail import status
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        told = status(workspace)
    if json:
        show_json(told)
    else:
        show_record(told)
