"""`everloop doctor`: what is missing on this machine, and how to get it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["doctor"]


def doctor(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at this machine and the project; exit 1 where something is missing."""
    import msgspec

    from everloop.cli.output import show_json
    from everloop.loop.health import examine

    findings = examine(project)
    if json:
        show_json(msgspec.to_builtins(findings))
    else:
        for f in findings:
            print(f"{'ok     ' if f.well else 'MISSING'}  {f.what:<12} {f.found}{'' if f.well else f'  ->  {f.do}'}")
    if not all(f.well for f in findings):
        raise typer.Exit(1)
