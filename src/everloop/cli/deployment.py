"""`everloop deployment`: what serves now, and what rollouts showed."""

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


@deployment.command()
def report(
    rollout: Annotated[str | None, typer.Argument(help="Such as r-1; the newest without it.")] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with a picture into this file.")] = None,
) -> None:
    """Say what a rollout showed: effect with its interval, slices, exposure, errors, latency, and its verdict."""
    from everloop.cli.output import show_json, show_record, show_table, write_out
    from everloop.loop.rollout_page import page as page_of
    from everloop.loop.rollout_report import report
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        told = report(workspace, rollout)
    if page:
        write_out(page, page_of(told))
    if json:
        show_json(told)
    else:
        show_record({name: value for name, value in told.items() if name not in ("slices", "over_time")})
        show_table("slices", told["slices"])
