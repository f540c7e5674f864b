"""Brings MLflow, TensorBoard and Elasticsearch up to date, in a process of its own: nothing waits for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from everloop import bundles, registry, store
from everloop.bundles import Bundle, trusted
from everloop.errors import BundleError, BusyError, EverloopError, SystemError_
from everloop.loop.elastic import elastic_target, journal_shipper
from everloop.loop.lease import lease
from everloop.loop.leash import leashed
from everloop.loop.workspace import Workspace, opened
from everloop.pipelines import Artifact
from everloop.pipelines.history import KnownRun, runs_of
from everloop.shippers import Outbox, Shipper, Target
from everloop.shippers.elastic import ElasticTarget
from everloop.shippers.journal_shipper import JournalShipper
from everloop.shippers.openlineage import OpenLineageTarget, client_of
from everloop.shippers.tensorboard import TensorBoardTarget
from everloop.tracking import RunRecord, read_run

__all__ = [
    "PATIENCE",
    "mlflow_place",
    "mlflow_url",
    "read_record",
    "run_tracking",
    "shippers",
    "tensorboard_place",
    "tracked",
]

Bringer = Shipper | JournalShipper
PATIENCE, POLL = 60.0, 0.5
KINDS = frozenset({"run", "model_version", "alias", "tuning", "trial"})
LEASE, DATABASE = "tracking.lease", "mlflow.db"


def run_tracking(folder: Path, *, once: bool = False, patience: float = PATIENCE) -> None:
    """Bring MLflow and TensorBoard up to date: as things happen, until it is stopped; or `once`, what has happened.

    It may be killed at any point, so SIGTERM ends it at once. Raises `SystemError_`, for `once` only, when it has not
    come further for `patience` seconds.
    """
    with opened(folder) as workspace:
        workspace.log_as("tracking")
        end = _end(workspace) if once else None
        _work(workspace, lambda: end, patience, POLL)


@contextlib.contextmanager
def tracked(folder: Path, tell: Callable[[str], None], patience: float = PATIENCE) -> Iterator[None]:
    """Track what happens inside of `with` in a process beside it, and wait at its end until all of it is there.

    A server that is down is not waited for: `tell` is told in a sentence how many changes wait, for the next time.
    """
    with opened(folder) as workspace:
        if not shippers(workspace):
            yield
            return
        log = _state(workspace) / "logs" / "tracking.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = leashed((sys.executable, "-m", "everloop.loop.tracking", str(folder)))
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True)
    try:
        yield
    except EverloopError:
        _settle(process, tell, patience, log)
        raise
    except BaseException:
        process.kill()
        process.communicate()
        raise
    _settle(process, tell, patience, log)


def _settle(process: subprocess.Popen[str], tell: Callable[[str], None], patience: float, log: Path) -> None:
    try:
        told, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        tell(f"tracking takes longer than {patience:.0f} s: `everloop track --once` brings the rest (its log: {log})")
    else:
        if told.strip() or process.returncode:
            tell(told.strip() or f"tracking ended with {process.returncode} (its log: {log})")


def _beside(folder: Path) -> None:
    """Track until the standard input ends, then what has happened by then; says what a server that is down lacks."""
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    with opened(folder) as workspace:
        workspace.log_as("tracking")
        try:
            _work(workspace, lambda: _end(workspace) if ended.is_set() else None, 0.0, 0.1)
        except SystemError_ as error:
            print(error, flush=True)


def _work(workspace: Workspace, end: Callable[[], int | None], patience: float, poll: float) -> None:
    """Work until all up to an `end` is there; one process at a time, in turns.

    Raises `SystemError_` when it comes no further: for `patience` seconds, or with none at the first trouble.
    """
    known = shippers(workspace)
    _begin_again(workspace, known)
    all_known = [*known, *(journal_shippers(workspace) if patience else ())]
    moved, before = time.monotonic(), -1
    while True:
        worked = _turn(workspace, all_known)
        if (goal := end()) is not None:
            left = _waiting(all_known, goal)
            if not left:
                return
            if left != before:
                moved, before = time.monotonic(), left
            longest = patience if patience or any(s.trouble for s in all_known) else PATIENCE
            if time.monotonic() - moved >= longest:
                raise _late(all_known, goal)
        if not worked:
            time.sleep(poll)


def _turn(workspace: Workspace, known: Sequence[Bringer]) -> bool:
    """Let each reader that has news bring some of it; tells whether one did, which it does alone."""
    ready = [shipper for shipper in known if shipper.ready()]
    if not ready:
        return False
    try:
        with lease(_state(workspace) / LEASE, "everloop track"):
            for shipper in ready:
                shipper.step()
    except BusyError:
        return False
    return not all(shipper.trouble for shipper in ready)


def shippers(workspace: Workspace) -> list[Shipper]:
    """Return the readers that the project file asks for."""
    tracking, found = workspace.settings.tracking, []

    def read(run: str) -> RunRecord | None:
        return read_record(workspace, run)

    if tracking.tensorboard:
        place, outbox = tensorboard_place(workspace), Outbox(workspace.store, "tensorboard")
        found.append(Shipper("TensorBoard", outbox, TensorBoardTarget.kinds, lambda: TensorBoardTarget(place, read)))
    if tracking.mlflow:
        outbox = Outbox(workspace.store, f"mlflow {tracking.mlflow}")
        found.append(Shipper("MLflow", outbox, KINDS, lambda: _mlflow(workspace, read)))
    if tracking.openlineage:
        outbox = Outbox(workspace.store, f"openlineage {tracking.openlineage}")
        found.append(Shipper("OpenLineage", outbox, OpenLineageTarget.kinds, lambda: _openlineage(workspace)))
    if workspace.settings.elastic.url:
        outbox = Outbox(workspace.store, f"elastic {workspace.settings.elastic.url}")
        found.append(Shipper("Elasticsearch", outbox, ElasticTarget.kinds, lambda: elastic_target(workspace)))
    return found


def journal_shippers(workspace: Workspace) -> list[JournalShipper]:
    """Return the readers of the journal that the project file asks for."""
    return [journal_shipper(workspace)] if workspace.settings.elastic.url else []


def read_record(workspace: Workspace, run: str) -> RunRecord | None:
    """Return what a run records so far, None for one that the store does not know."""

    def value(row: Mapping[str, Any]) -> Any:
        try:
            return workspace.artifacts.get(Artifact(row["id"], row["format"], row["uri"], row["size"]))
        except SystemError_:  # missing or damaged: the rest is told without it
            return None

    return read_run(workspace.store, workspace.name, run, value, _bundle(workspace, run))


def mlflow_place(workspace: Workspace) -> Path:
    """Return the folder of the local MLflow: its database and its files."""
    return _state(workspace) / "mlflow"


def mlflow_url(workspace: Workspace) -> str:
    """Return where runs go: the URL of a tracking server, or that of the local database."""
    asked = workspace.settings.tracking.mlflow
    return f"sqlite:///{mlflow_place(workspace) / DATABASE}" if asked == "local" else str(asked)


def tensorboard_place(workspace: Workspace) -> Path:
    """Return the folder that `tensorboard --logdir` reads."""
    return _state(workspace) / "tensorboard"


def _openlineage(workspace: Workspace) -> Target:
    told = workspace.settings.tracking.openlineage
    place = told if "://" in told else str(workspace.path(told))

    def read(run: str) -> KnownRun | None:
        return next(iter(runs_of(workspace.store, run)), None)

    return OpenLineageTarget(client_of(place), workspace.name, workspace.artifacts.url, read)


def _mlflow(workspace: Workspace, read: Callable[[str], RunRecord | None]) -> Target:
    place, local = mlflow_place(workspace), workspace.settings.tracking.mlflow == "local"
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    os.environ |= {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    from everloop.shippers.mlflow import MlflowTarget, Versions, create_database

    def row(model: str, version: str) -> dict[str, Any]:
        with workspace.store.read() as connection:
            return registry.get(connection, model, version)

    def alias(model: str, name: str) -> str | None:
        with workspace.store.read() as connection:
            return registry.alias(connection, model, name)

    if local:
        create_database(place / DATABASE)
    artifacts = (place / "artifacts").as_uri() if local else None
    return MlflowTarget(mlflow_url(workspace), workspace.name, read, Versions(row, alias), artifacts)


def _begin_again(workspace: Workspace, known: list[Shipper]) -> None:
    """Start anew where what was written before is gone."""
    places = {"TensorBoard": tensorboard_place(workspace)}
    if workspace.settings.tracking.mlflow == "local":
        places["MLflow"] = mlflow_place(workspace) / DATABASE
    for shipper in known:
        if shipper.name in places and shipper.outbox.committed() and not places[shipper.name].exists():
            shipper.outbox.restart()


def _waiting(known: Sequence[Bringer], end: int) -> int:
    """Return how many changes up to `end` are not everywhere yet."""
    return max((s.waiting(end) for s in known), default=0)


def _late(known: Sequence[Bringer], end: int) -> SystemError_:
    late = [s for s in known if s.waiting(end)]
    waits = {unit: _waiting([s for s in late if s.unit == unit], end) for unit in {s.unit: None for s in late}}
    told = "; ".join(f"{s.name}{f' ({s.trouble})' if s.trouble else ''}" for s in late)
    count = " and ".join(f"{waiting} {unit}" for unit, waiting in waits.items())
    return SystemError_(f"{count} wait for {told}: they are kept, `everloop track --once` tries again")


def _end(workspace: Workspace) -> int:
    return int(workspace.store.rows(sa.select(sa.func.max(store.outbox.c.id).label("end")))[0]["end"] or 0)


def _state(workspace: Workspace) -> Path:
    return workspace.path(workspace.settings.storage.lease).parent


def _bundle(workspace: Workspace, run: str) -> Bundle | None:
    """Return the bundle of a run, None where it has none that verifies."""
    try:
        return bundles.load(workspace.bundles / run, trusted(workspace.keys))
    except BundleError:
        return None


if __name__ == "__main__":
    _beside(Path(sys.argv[1]))
