"""`everloop run`: one retraining, because a person asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["run"]


def run(
    reason: Annotated[str, typer.Option(help="Why; it is stored with the decision.")] = "a person asked for it",
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the running controller for one retraining; gates and rollout are the same as for any other."""
    from everloop.cli.output import Bar, show_json
    from everloop.loop.asking import ask
    from everloop.loop.commands import RETRAIN

    with Bar() as bar:
        bar.part("retraining")
        outcome = ask(project, RETRAIN, {"reason": reason}, lambda line: bar.line(f"{line.kind:<9} {line.text}"))
    if json:
        show_json(outcome)
    else:
        print(f"{outcome['decision']}: {outcome['version']}, {outcome['gate']['reason']}")
