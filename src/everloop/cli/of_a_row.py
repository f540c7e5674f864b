"""How verbs about one row name it: by a judged row's number or a prediction's id, and the version that is asked."""

from __future__ import annotations

from typing import Annotated

import typer

from everloop.cli.completion import versions

__all__ = ["Place", "Row", "Version"]

Row = Annotated[str, typer.Argument(help="A prediction's id, or the number of a row that a version was judged on.")]
Place = Annotated[int, typer.Option("--row", help="The row of a prediction of several, from 0.")]
Version = Annotated[
    str | None,
    typer.Option(help="Such as v3; by default that which answered, else the champion.", autocompletion=versions),
]
