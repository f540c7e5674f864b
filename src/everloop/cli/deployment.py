"""`everloop deployment`: what serves now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["deployment"]

deployment = typer.Typer(name="deployment", help="What serves now.", no_args_is_help=True)


@deployment.callback()
def group() -> None:
    """What serves now."""


@deployment.command()
def show(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which versions answer which share, and what the rollout under way has shown so far."""
    from everloop.cli.output import show_json, show_record, show_table
    from everloop.loop.deployment import deployment
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        told = deployment(workspace)
    if json:
        show_json(told)
    elif not told["versions"]:
        print("nothing serves yet: `everloop run` trains a version")
    else:
        show_table(f"plan {told['plan_generation']}", told["versions"])
        if told["rollout"]:
            show_record(told["rollout"])
