"""The composition root of the server: options in, one serving process out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import metadata
from pathlib import Path
from socket import socket
from typing import Any, get_args

from everloop.bundles import trusted
from everloop.errors import EverloopError, UsageError
from everloop.journal import TickWriter, Writer
from everloop.journal.machine import announce
from everloop.logs import configure_logs
from everloop.serving.batching import Batching
from everloop.serving.clock import ClockName, event_clock, wall_clock
from everloop.serving.explain import Explainer
from everloop.serving.features import OnlineFeatures
from everloop.serving.http import HttpApp
from everloop.serving.limits import Limits
from everloop.serving.metrics import Metrics
from everloop.serving.models import ModelLoader
from everloop.serving.options import JournalMode, Lookup, ServeOptions, check_options
from everloop.serving.plan import PlanFile
from everloop.serving.plane import Plane
from everloop.serving.repository import Repository
from everloop.serving.watch import PlanWatch
from everloop.serving.workers import reserved, run_workers

__all__ = ["build", "main", "read_token", "serve"]

_CLOCKS = {"wall": wall_clock, "event": event_clock}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a server from command-line arguments; returns the exit code, errors are one sentence on stderr."""
    configure_logs("server")
    try:
        serve(_options(arguments))
    except EverloopError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT; prints `server URL` once requests are taken."""
    from everloop.serving.server import bind, url  # uvicorn takes longer to import than all of the rest

    check_options(options)
    trusted(options.keys)
    with bind(options.host, options.port) as listener:
        address = f"server {url(listener)}"
        if options.workers == 1:
            _work(options, listener, lambda: print(address, flush=True))
            return
        with tempfile.TemporaryDirectory(prefix="everloop-") as counts, reserved(options) as options:

            def work(number: int, ready: Callable[[], None]) -> None:
                _work(options, listener, ready, number, Path(counts))

            run_workers(options.workers, work, lambda: print(address, flush=True))


def _work(
    options: ServeOptions, listener: socket, ready: Callable[[], None], worker: int = 0, counts: Path | None = None
) -> None:
    """Be one worker until SIGTERM or SIGINT."""
    from everloop.serving.server import run

    with contextlib.closing(Writer(options.journal, options.journal_mode, shared=options.workers > 1)) as writer:
        announce(writer, wall_clock(None), options.threads)
        run(build(options, writer, worker, counts), listener, lambda _: ready())


def build(options: ServeOptions, writer: Writer, worker: int = 0, counts: Path | None = None) -> HttpApp:
    """Return the ASGI application of a server, or one of its workers, whose journal is open.

    `counts` is the folder through which workers count together.
    """
    metrics = Metrics(counts)
    journal = TickWriter(writer)
    loader = ModelLoader(options.root, options.keys, options.threads, options.batching, options.native)
    limits = Limits(options.max_requests, options.timeout)
    explainer = Explainer(options.keys, options.journal, options.timeout, options.native)
    features = None
    if options.features:
        features = OnlineFeatures(options.features, metrics.lookups.observe, metrics.lookup_errors.inc)
    plane = Plane(loader, journal, _CLOCKS[options.clock], metrics, limits, explainer, features)
    watch = PlanWatch(plane, PlanFile(options.plan), metrics)
    repository = Repository(plane, watch)

    def status() -> dict[str, Any]:
        return {
            "name": "everloop",
            "version": metadata.version("everloop"),
            "extensions": ["binary_tensor_data", "model_repository", "explain", "feedback", "plan", "journal"],
            "plan_generation": plane.plan.generation if plane.plan else None,
            "plan_error": watch.error,
            "workers": options.workers,
            "journal": {"mode": options.journal_mode},
            "clock": options.clock,
        }

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await watch.look()  # with a plan at hand the first request is answered
        watching = asyncio.create_task(watch.run())
        try:
            async with _grpc(options, plane, repository, metrics, status, worker):
                yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            if features:
                features.close()
            await explainer.close()
            await journal.close()

    return HttpApp(plane, repository, metrics, status, lifespan, options.max_body, options.token)


@contextlib.asynccontextmanager
async def _grpc(
    options: ServeOptions,
    plane: Plane,
    repository: Repository,
    metrics: Metrics,
    status: Callable[[], dict[str, Any]],
    worker: int,
) -> AsyncIterator[None]:
    """Answer over gRPC too, where a port is given for it; prints `grpc HOST:PORT`."""
    if options.grpc_port is None:
        yield
        return
    from everloop.serving.grpc import GrpcServer

    shared = options.workers > 1
    server = GrpcServer(plane, repository, metrics, status, options.max_body, options.token, shared)
    address = await server.start(options.host, options.grpc_port)
    if worker == 0:
        print(f"grpc {address}", flush=True)
    try:
        yield
    finally:
        await server.stop()


def _options(arguments: Sequence[str] | None) -> ServeOptions:
    parser = argparse.ArgumentParser(
        prog="python -m everloop.serving", description="Serve the models of a plan over the Open Inference Protocol."
    )
    parser.add_argument("--plan", type=Path, required=True, help="the plan file; it may appear later")
    parser.add_argument("--journal", type=Path, required=True, help="the journal's folder")
    parser.add_argument(
        "--keys", type=Path, required=True, help="a public key, or a folder of them, to trust bundles by"
    )
    parser.add_argument("--root", type=Path, default=Path("."), help="where relative bundle paths lie (default: here)")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--grpc-port", type=int, help="answer over gRPC too; 0 takes a free one (default: no gRPC)")
    parser.add_argument("--workers", type=int, default=1, help="processes on the same ports (default: %(default)s)")
    parser.add_argument("--journal-mode", choices=get_args(JournalMode), default="written", help="default: %(default)s")
    parser.add_argument("--clock", choices=get_args(ClockName), default="wall", help="default: %(default)s")
    parser.add_argument("--max-body", type=int, default=16_000_000, help="bytes (default: %(default)s)")
    parser.add_argument("--max-requests", type=int, default=1000, help="under way at once (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds of one request (default: %(default)s)")
    parser.add_argument("--batch-rows", type=int, default=1, help="computed together at most (default: %(default)s)")
    parser.add_argument("--batch-wait", type=float, default=0.001, help="seconds at most (default: %(default)s)")
    parser.add_argument("--token-file", type=Path, help="holds the token that feedback needs")
    parser.add_argument("--threads", type=int, default=1, help="threads of one inference (default: %(default)s)")
    parser.add_argument(
        "--native", nargs="*", metavar="TYPE", help="serve native models too, of these types (default: none)"
    )
    parser.add_argument("--feature-store", metavar="URL", help="Feast's feature server, asked for what requests lack")
    parser.add_argument("--features", nargs="+", default=(), metavar="VIEW:FEATURE", help="what it is asked for")
    parser.add_argument("--feature-keys", nargs="+", default=(), metavar="TENSOR", help="by what it is asked")
    parser.add_argument("--feature-token-file", type=Path, help="holds the token that the feature server needs")
    parser.add_argument("--feature-timeout", type=float, default=0.25, help="seconds at most (default: %(default)s)")
    given = vars(parser.parse_args(arguments))
    url, names, keys = given.pop("feature_store"), tuple(given.pop("features")), tuple(given.pop("feature_keys"))
    secret, limit = given.pop("feature_token_file"), given.pop("feature_timeout")
    store = Lookup(url or "", names, keys, limit, read_token(secret) if secret else None)
    given["features"] = store if url or names or keys else None
    given["native"] = tuple(given["native"]) if given["native"] is not None else None
    file = given.pop("token_file")
    given["batching"] = Batching(given.pop("batch_rows"), given.pop("batch_wait"))
    return ServeOptions(**given, token=read_token(file) if file else None)


def read_token(file: Path) -> str:
    """Return the token that a file holds."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token file {file} cannot be read: {error}") from error
    if not token:
        raise UsageError(f"the token file {file} is empty")
    return token
