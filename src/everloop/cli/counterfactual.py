"""`everloop counterfactual`: what would have had to be different in a row for another answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everloop.cli.completion import versions

__all__ = ["counterfactual"]


def counterfactual(
    row: Annotated[str, typer.Argument(help="A prediction's id, or the number of a row that a version was judged on.")],
    wanted: Annotated[
        str | None, typer.Option(help="A label, by default any other; of values 'above 300' or 'below 300'.")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column that keeps its value; may be repeated.")] = None,
    may_change: Annotated[
        list[str] | None, typer.Option(help="A sensitive column that may change too; may be repeated.")
    ] = None,
    place: Annotated[int, typer.Option("--row", help="The row of a prediction of several, from 0.")] = 0,
    version: Annotated[
        str | None,
        typer.Option(help="Such as v3; by default that which answered, else the champion.", autocompletion=versions),
    ] = None,
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
