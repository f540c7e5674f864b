"""`everloop elastic`: prepare an Elasticsearch for what `everloop track` sends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["elastic"]

elastic = typer.Typer(name="elastic", help="Predictions and decisions in Elasticsearch.", no_args_is_help=True)


@elastic.callback()
def _group() -> None:
    """Predictions and decisions in Elasticsearch."""


@elastic.command()
def setup(
    days: Annotated[int, typer.Option(help="How long an index is kept after it was made.", min=1)] = 400,
    project: Annotated[Path, typer.Option("--project", help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put the index template and the lifecycle policy on the server; once more renews them."""
    from everloop.cli.output import show_json
    from everloop.loop.elastic import set_up
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        names = set_up(workspace, days)
    if json:
        show_json({"put": names})
    else:
        print("\n".join(names))
