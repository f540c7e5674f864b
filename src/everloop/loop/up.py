"""A whole project in one command: its processes, and what they do, one line an event."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from everloop.errors import BusyError
from everloop.loop.lease import holder, lease
from everloop.loop.story import Story
from everloop.loop.supervisor import Child, Supervisor
from everloop.loop.tracking import mlflow_place, mlflow_url, tensorboard_place
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

        with lease(state / "up.lease", "everloop up"), _alone(workspace):
            beside, hints = companions(workspace, state / "logs")
            story = Story(workspace.store)
            with Supervisor([*processes, *beside], restarted) as supervisor:
                tell(f"server      http://{workspace.settings.serving.host}:{port}")
                tell(f"logs        {state / 'logs'}")
                for hint in hints:
                    tell(hint)
                while not stop.wait(0.5):
                    supervisor.check()
                    _tell_news(story, tell)
                tell("stopping")
            _tell_news(story, tell)  # what happened while they ended


def _tell_news(story: Story, tell: Callable[[str], None]) -> None:
    """Tell it to who started it; the processes' logs have it too."""
    for line in story.news():
        tell(f"{show_time(line.time)[:19].replace('T', ' ')}  {line.kind:<9} {line.text}")


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


def companions(workspace: Workspace, logs: Path) -> tuple[list[Child], list[str]]:
    """Return the processes that show what happens, without which all goes on, and a line on each."""
    tracking, found, told = workspace.settings.tracking, list[Child](), list[str]()
    door = workspace.settings.events
    if _free(door.port, door.host):
        command = (sys.executable, "-m", "everloop.cli", "events", "--project", str(workspace.folder))
        found.append(Child("events", command, logs / "events.log", needed=False))
        told.append(f"events      http://{door.host}:{door.port}")
    else:
        told.append(f"events      not taken: port {door.port} is taken ([events] port names another)")
    watching = (sys.executable, "-m", "everloop.cli", "monitor", "--project", str(workspace.folder))
    found.append(Child("monitor", watching, logs / "monitor.log", needed=False))
    if tracking.mlflow or tracking.tensorboard or workspace.settings.elastic.url:
        command = (sys.executable, "-m", "everloop.cli", "track", "--project", str(workspace.folder))
        found.append(Child("tracking", command, logs / "tracking.log", needed=False))
    if tracking.mlflow == "local":
        if _free(tracking.ui_port):
            found.append(
                Child("mlflow", _mlflow_server(workspace, tracking.ui_port), logs / "mlflow.log", needed=False)
            )
            told.append(f"mlflow      http://127.0.0.1:{tracking.ui_port}")
        else:
            told.append(f"mlflow      not shown: port {tracking.ui_port} is taken ([tracking] ui_port names another)")
    elif tracking.mlflow:
        told.append(f"mlflow      {tracking.mlflow}")
    if tracking.tensorboard:
        told.append(f"curves      tensorboard --logdir {tensorboard_place(workspace)}")
    return found, told


def _mlflow_server(workspace: Workspace, port: int) -> tuple[str, ...]:
    """Return the command that shows the local MLflow, once `everloop track` has made its database."""
    url = mlflow_url(workspace)
    once_there = ("sh", "-c", 'until [ -f "$0" ]; do sleep 0.5; done; exec "$@"', url.removeprefix("sqlite:///"))
    quiet = ("MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false")
    options = ("--backend-store-uri", url, "--default-artifact-root", (mlflow_place(workspace) / "artifacts").as_uri())
    where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    return (*once_there, "env", *quiet, sys.executable, "-m", "mlflow", "server", *options, *where)


def _free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether nobody listens at a port; the page of an `up` that was killed may take a moment to go."""
    for _ in range(10):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return True
        time.sleep(0.1)
    return False
