"""A whole project in one command: its processes, and what they do, one line an event."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from everloop.errors import BusyError
from everloop.loop.lease import holder, lease
from everloop.loop.story import Story
from everloop.loop.supervisor import Child, Supervisor
from everloop.loop.workspace import Workspace, opened
from everloop.types import show_time

__all__ = ["children", "run_up"]

PATIENCE = 30.0  # seconds for which the controller of an earlier `up` may go on with a training


def run_up(project: Path, port: int | None, tell: Callable[[str], None]) -> None:
    """Run a project until SIGTERM or SIGINT, then let its processes finish what they do.

    Raises `BusyError` beside another `up`, `SystemError_` when a process keeps ending.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with opened(project) as workspace:
        port = workspace.settings.serving.port if port is None else port
        state = workspace.path(workspace.settings.storage.lease).parent
        processes = children(workspace.folder, port, "wall", state / "logs")

        def restarted(name: str, code: int) -> None:
            tell(f"{name} ended with {code}: it is started again")

        with (
            lease(state / "up.lease", "everloop up"),
            _alone(workspace),
            Supervisor(processes, restarted) as supervisor,
        ):
            story = Story(workspace.store)
            tell(f"server      http://{workspace.settings.serving.host}:{port}")
            tell(f"logs        {state / 'logs'}")
            while not stop.wait(0.5):
                supervisor.check()
                for line in story.news():
                    tell(f"{show_time(line.time)[:19].replace('T', ' ')}  {line.kind:<9} {line.text}")
            tell("stopping")


@contextlib.contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Wait for the controller of an `up` that was killed: it ends by itself once its training is done."""
    place, deadline = workspace.path(workspace.settings.storage.lease), time.monotonic() + PATIENCE
    while other := holder(place):
        if time.monotonic() > deadline:
            raise BusyError(f"another controller (process {other}) runs this project: stop it first")
        time.sleep(0.1)
    yield


def children(project: Path, port: int, clock: str, logs: Path) -> list[Child]:
    """Return the processes of a project: its server and its controller."""
    everloop = (sys.executable, "-m", "everloop.cli")
    options = ("--project", str(project), "--clock", clock)
    return [
        Child("server", (*everloop, "serve", *options, "--port", str(port)), logs / "server.log"),
        Child("controller", (*everloop, "controller", *options), logs / "controller.log"),
    ]
