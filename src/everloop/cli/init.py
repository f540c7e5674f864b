"""`everloop init`: a project to own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from everloop.cli.completion import templates

__all__ = ["init"]


def init(
    folder: Annotated[Path, typer.Argument(help="The new project's folder; its name is the project's.")],
    template: Annotated[str, typer.Option(help="What to begin with.", autocompletion=templates)] = "minimal",
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    time: Annotated[str | None, typer.Option(help="The column of event time. With --target, default: none.")] = None,
    task: Annotated[
        Literal["regression", "classification"] | None, typer.Option(help="Default: by the target's values.")
    ] = None,
    remote: Annotated[str | None, typer.Option(help="Where versions of data go: a folder, gs:// or s3://.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a new project: settings, model, tests, README, under git and DVC."""
    from everloop.cli.output import show_json
    from everloop.loop.projects import create_project, settings_of

    committed = create_project(folder, template, settings_of(target, time, task), remote)
    if json:
        show_json({"project": str(folder), "template": template, "committed": committed})
        return
    told = "" if committed else " (git or DVC did not take it: `everloop doctor` says what is missing)"
    print(f"{folder}: a project of the template {template}{told}")
    print(f"next: cd {folder}, then `everloop data add FILE`")
