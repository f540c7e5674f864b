"""`everloop lineage`: where something comes from, or what was made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everloop.cli.completion import versions

__all__ = ["lineage"]


def lineage(
    id: Annotated[
        str | None, typer.Argument(help="A prediction, v3, data-2, or an artifact.", autocompletion=versions)
    ] = None,
    down: Annotated[bool, typer.Option(help="What was made of it, instead of where it comes from.")] = False,
    out: Annotated[Path | None, typer.Option(help="Draw it: a .png, .svg or .pdf file.")] = None,
    mlmd: Annotated[Path | None, typer.Option(help="Write all of it as an ML Metadata store, SQLite.")] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Follow something back to the data and code that it was made of, or on to what was made of it."""
    import msgspec

    from everloop.cli.output import show_json, write_out
    from everloop.errors import UsageError
    from everloop.loop.lineage import lineage, text_of
    from everloop.loop.workspace import opened

    if (id is None) == (mlmd is None):
        raise UsageError("name what to follow, or a file for the whole lineage: --mlmd lineage.db")
    if mlmd is not None:
        _export(project, mlmd, json)
        return
    assert id is not None
    if out and out.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"{out} names no picture: end it with .png, .svg or .pdf")
    with opened(project) as workspace:
        found = lineage(workspace, id, "down" if down else "up")
    if out:
        from everloop.loop.lineage_picture import picture

        write_out(out, picture(found, out.suffix[1:]))
    if json:
        show_json(msgspec.to_builtins(found))
    else:
        print("\n".join(text_of(found)))


def _export(project: Path, file: Path, json: bool) -> None:
    from everloop.cli.output import show_json, show_record
    from everloop.loop.mlmd import export_mlmd
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        told = {"file": str(file), **export_mlmd(workspace, file)}
    if json:
        show_json(told)
    else:
        show_record(told)
