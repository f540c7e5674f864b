"""`everloop lineage`: where something comes from, or what was made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everloop.cli.completion import versions

__all__ = ["lineage"]


def lineage(
    id: Annotated[str, typer.Argument(help="A prediction, v3, data-2, or an artifact.", autocompletion=versions)],
    down: Annotated[bool, typer.Option(help="What was made of it, instead of where it comes from.")] = False,
    out: Annotated[Path | None, typer.Option(help="Draw it: a .png, .svg or .pdf file.")] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Follow something back to the data and code that it was made of, or on to what was made of it."""
    import msgspec

    from everloop.cli.output import show_json
    from everloop.errors import UsageError
    from everloop.loop.lineage import lineage, text_of
    from everloop.loop.workspace import opened

    if out and out.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"{out} names no picture: end it with .png, .svg or .pdf")
    with opened(project) as workspace:
        found = lineage(workspace, id, "down" if down else "up")
    if out:
        from everloop.loop.lineage_picture import picture

        out.write_bytes(picture(found, out.suffix[1:]))
    if json:
        show_json(msgspec.to_builtins(found))
    else:
        print("\n".join(text_of(found)))
