"""`everloop card`: the model card of a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everloop.cli.completion import versions

__all__ = ["card"]


def card(
    version: Annotated[
        str | None, typer.Argument(help="Such as v3; by default the champion.", autocompletion=versions)
    ] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it to this .html or .md.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the model card of a version, made from the evidence: use, data, figures, limits, lineage, signature."""
    from everloop.cli.output import show_json, write_out
    from everloop.errors import UsageError
    from everloop.loop.card import card_of, card_page, card_text
    from everloop.loop.workspace import opened

    if out is not None and out.suffix not in (".html", ".md"):
        raise UsageError(f"--out {out}: name a file that ends in .html or .md")
    with opened(project) as workspace:
        made = card_of(workspace, version)
    if out is not None:
        write_out(out, card_page(made) if out.suffix == ".html" else card_text(made))
    if json:
        show_json(made.as_told())
    else:
        print(f"the card of {made.evaluated.version}: {out}" if out else card_text(made))
