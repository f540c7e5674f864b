"""`everloop triggers`: what starts a retraining, what an event would start, and the git hook that tells of a push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["triggers"]

triggers = typer.Typer(name="triggers", help="See and try what starts a retraining.", no_args_is_help=True)
hook = typer.Typer(name="hook", help="The git hook that tells the loop of a push at once.", no_args_is_help=True)
triggers.add_typer(hook)
Folder = Annotated[Path, typer.Option("--project", help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@triggers.command("list")
def list_(project: Folder = Path("."), json: Json = False) -> None:
    """List the triggers: which are on, the last decision of each, and how long it still rests."""
    import time

    from everloop.cli.output import show_json, show_table
    from everloop.loop.trigger_views import listing
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        rows = listing(workspace, time.time())
    if json:
        show_json(rows)
    else:
        show_table("Triggers", [{name: value for name, value in row.items() if name != "note"} for row in rows])
        for row in rows:
            if row["note"]:
                print(f"note: {row['trigger']}: {row['note']}")


@triggers.command("test")
def try_(
    event: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A JSON file: a CloudEvent, or the body of a webhook.")
    ],
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Say what an event would start now, and why; nothing is stored."""
    import time

    from everloop.cli.output import show_json, show_record
    from everloop.loop.trigger_views import event_of, trial
    from everloop.loop.workspace import opened

    now = time.time()
    with opened(project) as workspace:
        told = trial(workspace, event_of(event.read_bytes(), now), now)
    if json:
        show_json(told)
    else:
        show_record({name: value for name, value in told.items() if name != "condition"})


@triggers.command()
def push(
    branch: Annotated[str, typer.Option(help="The branch that moved.")],
    before: Annotated[str, typer.Option(help="The commit it was at.")],
    commit: Annotated[str, typer.Option(help="The commit it is at.")],
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Tell the loop that a branch moved, as the git hook does; what a poll saw already is not told twice."""
    import time

    from everloop.cli.output import show_json
    from everloop.loop.hooks import pushed
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        told = pushed(workspace, branch, before, commit, time.time())
    if json:
        show_json(told)
    else:
        print(f"{told['event']}: {'told' if told['stored'] else 'known already'}")


@hook.command()
def install(
    repository: Annotated[Path | None, typer.Option(help="A bare repository that is pushed to.")] = None,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Write the hook: after each commit of the project, or after each push that a bare repository takes."""
    from everloop.cli.output import show_json
    from everloop.loop.hooks import install

    path = install(project, repository or project, "post-receive" if repository else "post-commit")
    if json:
        show_json({"hook": str(path)})
    else:
        print(path)
