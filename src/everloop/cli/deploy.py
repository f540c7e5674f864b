"""`everloop deploy`: a version's rollout begins because a person says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from everloop.cli.completion import versions

__all__ = ["deploy"]


def deploy(
    version: Annotated[str, typer.Argument(help="A version whose gate passed, such as v3.", autocompletion=versions)],
    strategy: Annotated[
        Literal["canary", "shadow", "ab", "bandit", "replace"] | None,
        typer.Option(help="Default: \\[deployment] strategy."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it is stored with the decision.")] = "a person asked for it",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Begin the rollout of a version: judged beside the champion on live requests, or at once (replace)."""
    from everloop.cli.asked import carry_out
    from everloop.loop.commands import DEPLOY

    asked = {"version": version, "reason": reason} | ({"strategy": strategy} if strategy else {})
    carry_out(project, DEPLOY, asked, json)
