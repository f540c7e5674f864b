"""`everloop approve`: a version that waits for a person may serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everloop.cli.completion import versions

__all__ = ["approve"]


def approve(
    version: Annotated[str, typer.Argument(help="A version that waits, such as v3.", autocompletion=versions)],
    reason: Annotated[str, typer.Option(help="Why; it is stored with the decision.")] = "a person asked for it",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Approve a version that waits because the gates ask for a person; its rollout begins."""
    from everloop.cli.asked import carry_out
    from everloop.loop.commands import APPROVE

    carry_out(project, APPROVE, {"version": version, "reason": reason}, json)
