"""`everloop promote`: a version becomes the champion because a person says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["promote"]


def promote(
    version: Annotated[str, typer.Argument(help="A version whose gate passed, such as v3.")],
    reason: Annotated[str, typer.Option(help="Why; it is stored with the decision.")] = "a person asked for it",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
) -> None:
    """Let a version answer all requests from now on; a rollout under way ends."""
    from everloop.loop.asking import ask
    from everloop.loop.commands import PROMOTE

    outcome = ask(project, PROMOTE, {"version": version, "reason": reason}, lambda _: None)
    print(f"{outcome['decision']}: {outcome['champion']} is the champion")
