"""`everloop serve`: answer predictions of a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from everloop.serving.options import Lookup
    from everloop.settings import Features

__all__ = ["serve"]


def serve(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    host: Annotated[str | None, typer.Option(help="Default: \\[serving] host.")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one. Default: \\[serving] port.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC too. Default: \\[serving] grpc_port, or none.")] = None,
    clock: Annotated[Literal["wall", "event"], typer.Option(help="event: requests carry their time.")] = "wall",
    token_file: Annotated[Path | None, typer.Option(help="Holds the token that labels need.")] = None,
) -> None:
    """Serve the project's models over the Open Inference Protocol."""
    from everloop.logs import configure_logs
    from everloop.serving.app import read_token
    from everloop.serving.app import serve as run
    from everloop.serving.batching import Batching
    from everloop.serving.options import ServeOptions
    from everloop.settings import load, place, seconds, size

    settings = load(project)
    storage, serving = settings.storage, settings.serving
    configure_logs("server", settings.project.name, format=settings.logging.format, level=settings.logging.level)
    run(
        ServeOptions(
            plan=place(project, storage.plan),
            journal=place(project, storage.journal),
            keys=place(project, storage.keys),
            root=project.resolve(),
            host=host or serving.host,
            port=serving.port if port is None else port,
            grpc_port=serving.grpc_port if grpc_port is None else grpc_port,
            journal_mode=serving.journal,
            clock=clock,
            max_body=size(serving.max_body),
            workers=serving.workers,
            threads=serving.threads,
            native=serving.native,
            features=_lookup(serving.features),
            max_requests=serving.max_requests,
            timeout=seconds(serving.timeout),
            batching=Batching(serving.batch_rows, seconds(serving.batch_wait)),
            token=read_token(token_file) if token_file else None,
        )
    )


def _lookup(told: Features | None) -> Lookup | None:
    import os

    from everloop.errors import UsageError
    from everloop.serving.options import Lookup
    from everloop.settings import seconds

    if told is None:
        return None
    token = os.environ.get(told.token) if told.token else None
    if told.token and not token:
        raise UsageError(f"[serving.features] token: the environment has no variable {told.token}")
    return Lookup(told.url, told.features, told.keys, seconds(told.timeout), token)
