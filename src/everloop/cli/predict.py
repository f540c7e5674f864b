"""`everloop predict`: the rows of a file, answered by the running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["predict"]


def predict(
    file: Annotated[Path, typer.Argument(help="Rows with the model's columns: CSV, TSV, Parquet or JSON lines.")],
    out: Annotated[Path | None, typer.Option(help="A CSV for rows and answers. Default: the terminal.")] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    url: Annotated[str | None, typer.Option(help="The server. Default: [serving] host and port.")] = None,
) -> None:
    """Send the rows of a file to the server and give them back with answers and prediction ids."""
    import contextlib

    from everloop.cli.output import Bar
    from everloop.loop.client import Client
    from everloop.loop.tables import predict_file
    from everloop.settings import load

    settings = load(project)
    server = url or f"http://{settings.serving.host}:{settings.serving.port}"
    with Bar() as bar, contextlib.closing(Client(server, settings.project.name, patience=5.0)) as client:
        bar.part("predicting")
        answered = predict_file(client, file, bar.progress)
    if out is None:
        print(answered.to_csv(index=False), end="")
    else:
        answered.to_csv(out, index=False)
        print(f"{len(answered)} rows with their answers: {out}")
