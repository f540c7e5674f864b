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
    set: Annotated[
        list[str] | None, typer.Option("--set", help="training.KEY=VALUE for this run alone; several times.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="A pipeline version. Default: the deployed one.")] = None,
    step: Annotated[str | None, typer.Option(help="Only repeat this step, here, with the inputs it had.")] = None,
    of: Annotated[str | None, typer.Option(help="The run whose inputs --step takes. Default: the newest.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Retrain once: in the controller that runs, else here; gates and rollout are the same as for any other."""
    from everloop.cli.asked import carry_out, values_of
    from everloop.loop.commands import RETRAIN

    if step is not None:
        _repeat(project, step, of, json)
        return
    asked = {"reason": reason, "set": values_of(set), "version": version}
    carry_out(project, RETRAIN, {name: value for name, value in asked.items() if value}, json, explain_cache)


def _repeat(project: Path, step: str, of: str | None, json: bool) -> None:
    from everloop.cli.output import show_json
    from everloop.loop.workspace import opened
    from everloop.pipelines import repeat_step

    with opened(project) as workspace:
        found = repeat_step(workspace.store, workspace.artifacts, step, of)
    told = repr(found.value)
    shown = told if len(told) <= 2000 else f"{told[:2000]}... ({len(told):,} characters)"
    if json:
        show_json(
            {"step": found.step, "run": found.run, "status": found.status, "seconds": found.seconds, "value": shown}
        )
    else:
        print(
            f"step {found.step} of run {found.run} ({found.status} then), {found.seconds:.2f} s now; nothing is stored"
        )
        print(shown)
