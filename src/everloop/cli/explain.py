"""`everloop explain`: how far each column of a row moved its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everloop.cli.of_a_row import Place, Row, Version

__all__ = ["explain"]


def explain(
    row: Row,
    of_class: Annotated[
        str | None, typer.Option("--class", help="Whose probability is explained; by default the likeliest's.")
    ] = None,
    place: Place = 0,
    version: Version = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell how far each column of a row moved its answer away from the usual one."""
    from everloop.cli.output import show_json, show_table
    from everloop.loop.what_if import ask_why
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        found = ask_why(workspace, row, place, version, of_class)
    if json:
        show_json(found)
        return
    of = f"the probability of {found.of_class}" if found.of_class is not None else "the answer"
    print(f"{found.model} {found.version}, {found.row}: {of} is {found.answer:.4g}, usually {found.base:.4g}")
    order = sorted(found.values, key=lambda name: -abs(found.values[name]))
    rows = [{"column": name, "is": found.inputs.get(name, "-"), "moves it by": found.values[name]} for name in order]
    show_table("", rows)
    print(f"Shapley values, by {found.method}")
