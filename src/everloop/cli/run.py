"""`everloop run`: one retraining, because a person asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["run"]


def run(
    reason: Annotated[str, typer.Option(help="Why; it is stored with the decision.")] = "a person asked for it",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    explain_cache: Annotated[bool, typer.Option(help="Say of each step whether it was cached, and why.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Retrain once: in the controller that runs, else here; gates and rollout are the same as for any other."""
    from everloop.cli.asked import carry_out
    from everloop.loop.commands import RETRAIN

    carry_out(project, RETRAIN, {"reason": reason}, json, explain_cache)
