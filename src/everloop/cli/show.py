"""`everloop show`: anything the project knows by an id, with its evidence and links."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["show"]


def show(
    id: Annotated[str, typer.Argument(help="d-3, r-1, v4, data-2, s-9, a run, an event or a prediction.")],
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a decision, rollout, version, data version, run, event, signal or prediction, with its links both ways."""
    import msgspec

    from everloop.cli.output import show_json, show_record
    from everloop.loop.trail import show
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        shown = show(workspace, id)
    if json:
        show_json(msgspec.to_builtins(shown))
        return
    print(f"{shown.kind} {shown.id}")
    show_record({"links": {name: ", ".join(ids) for name, ids in shown.links.items()}} | shown.record)
