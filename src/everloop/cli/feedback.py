"""`everloop feedback`: labels of a file, for the running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["feedback"]


def feedback(
    file: Annotated[
        Path, typer.Argument(help="Rows with prediction_id, the true value, and row where one has several.")
    ],
    value: Annotated[str | None, typer.Option(help="The column of true values. Default: \\[data] target.")] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    url: Annotated[str | None, typer.Option(help="The server. Default: \\[serving] host and port.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="Holds the token that labels need.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send the true values of a file's predictions; sent again they count once."""
    import contextlib

    from everloop.cli.output import Bar, show_json
    from everloop.loop.client import Client
    from everloop.loop.tables import label_rows, read_rows
    from everloop.serving.app import read_token
    from everloop.settings import load

    settings = load(project)
    server = url or f"http://{settings.serving.host}:{settings.serving.port}"
    token = read_token(token_file) if token_file else ""
    with Bar() as bar, contextlib.closing(Client(server, settings.project.name, 5.0, token=token)) as client:
        bar.part("labelling")
        taken = label_rows(client, read_rows(file), value or settings.data.target, bar.progress, str(file))
    if json:
        show_json({"labels": taken})
    else:
        print(f"{taken} labels taken")
