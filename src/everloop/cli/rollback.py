"""`everloop rollback`: back to the version that served before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["rollback"]


def rollback(
    reason: Annotated[str, typer.Option(help="Why; it is stored with the decision.")] = "a person asked for it",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
) -> None:
    """End the rollout under way, or, without one, go back to the champion before."""
    from everloop.loop.asking import ask
    from everloop.loop.commands import ROLLBACK

    outcome = ask(project, ROLLBACK, {"reason": reason}, lambda _: None)
    print(f"{outcome['decision']}: {outcome['champion']} is the champion")
