"""`everloop counterfactual`: what would have had to be different in a row for another answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everloop.cli.of_a_row import Place, Row, Version

__all__ = ["counterfactual"]


def counterfactual(
    row: Row,
    wanted: Annotated[
        str | None, typer.Option(help="A label, by default any other; of values 'above 300' or 'below 300'.")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column that keeps its value; may be repeated.")] = None,
    may_change: Annotated[
        list[str] | None, typer.Option(help="A sensitive column that may change too; may be repeated.")
    ] = None,
    place: Place = 0,
    version: Version = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the fewest changes of a row, to values of real rows, that give another answer."""
    from everloop.cli.output import show_json, show_table
    from everloop.loop.evaluation_page import otherwise_told, ways_of
    from everloop.loop.what_if import ask_otherwise
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        found = ask_otherwise(workspace, row, place, version, wanted, keep or (), may_change or ())
    if json:
        show_json(found)
        return
    print(f"{found.model} {found.version}, {otherwise_told(found.otherwise)}")
    show_table("", ways_of(found.otherwise))
    if found.kept:
        print(f"kept as they are: {', '.join(found.kept)}")
