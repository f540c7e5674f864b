"""The controller as a process: the lease that keeps it alone, its clock, its end."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from everloop.errors import BusyError
from everloop.loop.commands import CLOCK, PROMOTE, RETRAIN, ROLLBACK, finish, waiting
from everloop.loop.controller import Controller
from everloop.loop.story import Story
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace, open_workspace
from everloop.pipelines import Progress
from everloop.settings import seconds

_log = logging.getLogger("everloop.loop")

__all__ = ["holder", "lease", "run_controller", "run_project"]


def run_project(folder: Path, clock: Literal["wall", "event"]) -> None:
    """Run the controller of the project in `folder` until SIGTERM or SIGINT; raises `BusyError` beside another one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(levelname)-7s  %(message)s", stream=sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    workspace = open_workspace(folder)
    takes = seconds(workspace.settings.replay.training_time)

    def ready(decided: float) -> float:
        return time.time() if clock == "wall" else decided + takes

    def report(progress: Progress) -> None:
        if progress.status != "running":
            _log.info("step %s %s", progress.step, progress.status)

    try:
        with lease(workspace.path(workspace.settings.storage.lease)):
            controller = build_controller(workspace, training_time=ready, report=report)
            with contextlib.closing(controller):
                run_controller(workspace, controller, clock, stop)
    finally:
        workspace.close()


def holder(path: Path) -> int | None:
    """Return the process that holds a lease, or None."""
    if not path.is_file():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read().strip() or 0)
    return None


@contextlib.contextmanager
def lease(path: Path, what: str = "controller") -> Iterator[None]:
    """Hold a project's lease; a crash gives it back, a second holder is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not _locked(file):
            file.seek(0)
            other = file.read().strip() or "unknown"
            raise BusyError(f"another {what} (process {other}) runs this project: stop it first")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _locked(file: IO[str]) -> bool:
    """Lock a lease's file; tried for half a second, since somebody may only be looking who holds it."""
    for _ in range(25):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def run_controller(
    workspace: Workspace, controller: Controller, clock: Literal["wall", "event"], stop: threading.Event
) -> None:
    """Step until `stop`: every second of wall time, or at each clock event."""
    story = Story(workspace.store)
    while not stop.is_set():
        for event in [e for kind in (RETRAIN, PROMOTE, ROLLBACK) for e in waiting(workspace.store, kind)]:
            controller.carry_out(event, time.time() if clock == "wall" else event.time)
        if clock == "wall":
            controller.step(time.time())
        else:
            for event in waiting(workspace.store, CLOCK):
                plan = controller.step(event.time)
                finish(workspace.store, event.id, {"generation": plan.generation if plan else 0})
        for line in story.news():
            _log.info("%-9s %s", line.kind, line.text)
        stop.wait(1.0 if clock == "wall" else 0.02)
