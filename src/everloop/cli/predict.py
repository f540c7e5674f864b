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
    url: Annotated[str | None, typer.Option(help="The server. Default: \\[serving] host and port.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send the rows of a file to the server, raw ones through the features function, and print them with answers."""
    import contextlib
    import os

    import msgspec

    from everloop.cli.output import Bar, show_json
    from everloop.data import by_row
    from everloop.loop.client import Client
    from everloop.loop.tables import predict_rows, read_rows
    from everloop.settings import load
    from everloop.training import prepare

    settings = load(project)
    server = url or f"http://{settings.serving.host}:{settings.serving.port}"
    with Bar() as bar, contextlib.closing(Client(server, settings.project.name, patience=10.0)) as client:
        bar.part("predicting")
        rows = by_row(read_rows(file), settings.data.process, os.environ)
        answered = predict_rows(
            client,
            rows,
            lambda raw: prepare(settings.training.features, project, raw),
            bar.progress,
            str(file),
            file.parent,
            settings.serving.features,
        )
    if out is not None:
        answered.to_csv(out, index=False)
    if json:
        show_json(msgspec.json.decode(answered.to_json(orient="records")))
    elif out is None:
        print(answered.to_csv(index=False), end="")
    else:
        print(f"{len(answered)} rows with their answers: {out}")
