"""`everloop rollback`: back to what served before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["rollback"]


def rollback(
    reason: Annotated[str, typer.Option(help="Why; it is stored with the decision.")] = "a person asked for it",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """End the rollout under way; without one, go back to the champion before."""
    from everloop.cli.asked import carry_out
    from everloop.loop.commands import ROLLBACK

    carry_out(project, ROLLBACK, {"reason": reason}, json)
