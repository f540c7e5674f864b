"""`everloop image`: the project as a container image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["image"]

image = typer.Typer(name="image", help="The project as a container image.", no_args_is_help=True)


@image.callback()
def group() -> None:
    """The project as a container image."""


@image.command()
def build(
    tag: Annotated[str | None, typer.Option(help="Default: the project's name and the commit.")] = None,
    base: Annotated[
        str, typer.Option(help="An image with this Python, or one like python:3.11-slim.")
    ] = "python:3.11-slim",
    kind: Annotated[
        Literal["pipeline", "serving"], typer.Option(help="serving: the server's few packages.")
    ] = "pipeline",
    version: Annotated[str | None, typer.Option(help="A pipeline version. Default: the deployed one.")] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build it with the Docker engine: no root, no package index while it is built, no data inside."""
    from everloop.cli.output import Bar, show_json, show_record
    from everloop.loop.images import build_image
    from everloop.loop.workspace import opened

    with opened(project) as workspace, Bar() as bar:
        bar.part("packages and image")
        told = build_image(workspace, tag, base=base, kind=kind, version=version)
    if json:
        show_json(told)
    else:
        show_record(told)
