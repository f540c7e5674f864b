"""`everloop data quarantine`: deliveries that were refused, with the reason of each row; a person decides on them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["quarantine"]

quarantine = typer.Typer(name="quarantine", help="Look at refused deliveries, and decide.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--project", help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="Such as q-1f2e3d4c.")]


@quarantine.command("list")
def list_(project: Folder = Path("."), json: Json = False) -> None:
    """List the deliveries that were refused, oldest first."""
    from everloop.cli.output import show_json, show_table
    from everloop.loop.quarantined import refused
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        rows = refused(workspace)
    if json:
        show_json(rows)
    elif rows:
        show_table("Quarantine", rows)
    else:
        print("nothing was refused")


@quarantine.command()
def show(id: Id, project: Folder = Path("."), json: Json = False) -> None:
    """Show what is wrong with a delivery, and where its rows lie."""
    import msgspec

    from everloop.cli.output import show_json
    from everloop.data.quarantine import ROWS, get
    from everloop.loop.dataset import quarantine_of
    from everloop.loop.workspace import opened
    from everloop.types import dated

    with opened(project) as workspace:
        found, folder = get(quarantine_of(workspace), id)
    if json:
        show_json(dated(msgspec.to_builtins(found)))
        return
    print(f"{found.name} from {found.source}: {found.bad:,} of {found.rows:,} rows are at fault")
    for fault in found.faults:
        print(f"  {fault.reason}")
    if (folder / ROWS).is_file():
        print(f"each row with its reasons: {folder / ROWS}")
    if found.file:
        print(f"the delivery: {folder / found.file}")


@quarantine.command()
def release(
    id: Id,
    without_bad_rows: Annotated[bool, typer.Option(help="Add the other rows only.")] = False,
    accept_schema: Annotated[bool, typer.Option(help="Freeze the schema that all rows show now.")] = False,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Add a delivery after all, where it fits now: the rules or the schema changed, or its bad rows are left out."""
    import msgspec

    from everloop.cli.output import show_json
    from everloop.loop.quarantined import release
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        added = release(workspace, id, without_bad_rows=without_bad_rows, accept_schema=accept_schema, now=time.time())
    if json:
        show_json(msgspec.to_builtins(added))
    else:
        print(added.schema_diff, end="")
        print(f"{added.rows:,} rows in {', '.join(added.files)}: version {added.commit[:10]}; {id} is gone")


@quarantine.command()
def drop(id: Id, project: Folder = Path("."), json: Json = False) -> None:
    """Remove a refused delivery for good."""
    from everloop.cli.output import show_json
    from everloop.data.quarantine import drop
    from everloop.loop.dataset import quarantine_of
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        drop(quarantine_of(workspace), id)
    if json:
        show_json({"dropped": id})
    else:
        print(f"{id} is gone")
