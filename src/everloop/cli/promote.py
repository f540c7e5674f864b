"""`everloop promote`: a version becomes the champion because a person says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everloop.cli.completion import versions

__all__ = ["promote"]


def promote(
    version: Annotated[str, typer.Argument(help="A version whose gate passed, such as v3.", autocompletion=versions)],
    reason: Annotated[str, typer.Option(help="Why; it is stored with the decision.")] = "a person asked for it",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let a version answer all requests from now on; a rollout under way ends."""
    from everloop.cli.asked import carry_out
    from everloop.loop.commands import PROMOTE

    carry_out(project, PROMOTE, {"version": version, "reason": reason}, json)
