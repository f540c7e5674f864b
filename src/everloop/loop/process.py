"""The controller as a process: its clock, what persons ask of it, its end."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from everloop.loop.commands import ASKED, CLOCK, finish, waiting
from everloop.loop.controller import Controller
from everloop.loop.election import StoppedError, elected
from everloop.loop.keeping import Keeper
from everloop.loop.lease import lease
from everloop.loop.runners import executor_of
from everloop.loop.sensors import Sensors
from everloop.loop.story import Story
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace, open_workspace
from everloop.pipelines import Progress
from everloop.settings import seconds

_log = logging.getLogger("everloop.loop")

__all__ = ["carry_out_asked", "run_controller", "run_project"]


def run_project(folder: Path, clock: Literal["wall", "event"]) -> None:
    """Run the controller of the project in `folder` until SIGTERM or SIGINT; raises `BusyError` beside another one.

    On PostgreSQL it waits until it is elected instead, and takes over when the other one is gone.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    workspace = open_workspace(folder)
    workspace.log_as("controller")
    takes = seconds(workspace.settings.replay.training_time)

    def ready(decided: float) -> float:
        return time.time() if clock == "wall" else decided + takes

    def report(progress: Progress) -> None:
        if progress.status != "running":
            _log.info("step %s %s", progress.step, progress.status)

    try:
        with elected(workspace.store, stop) as check, lease(workspace.path(workspace.settings.storage.lease)):
            with contextlib.closing(executor_of(workspace)) as executor:
                controller = build_controller(
                    workspace, training_time=ready, report=report, executor=executor, wall=clock == "wall"
                )
                with contextlib.closing(controller):
                    run_controller(workspace, controller, clock, stop, check)
    except StoppedError:
        _log.info("stopped before it was elected")
    finally:
        workspace.close()


def carry_out_asked(workspace: Workspace, controller: Controller, clock: Literal["wall", "event"]) -> None:
    """Carry out what persons asked for, in the order in which they did."""
    asked = [event for kind in ASKED for event in waiting(workspace.store, kind)]
    for event in sorted(asked, key=lambda event: (event.time, event.id)):
        controller.carry_out(event, time.time() if clock == "wall" else event.time)


def run_controller(
    workspace: Workspace,
    controller: Controller,
    clock: Literal["wall", "event"],
    stop: threading.Event,
    elected: Callable[[], None] = lambda: None,
) -> None:
    """Step until `stop`: every second of wall time, or at each clock event; the journal is sealed at the end.

    `elected` raises where another controller may have been elected meanwhile.
    """
    story, keeper = Story(workspace.store), Keeper(workspace, retains=clock == "wall")
    with contextlib.closing(Sensors(workspace, apart=clock == "wall")) as sensors:
        while not stop.is_set():
            elected()
            keeper.look(time.time())
            carry_out_asked(workspace, controller, clock)
            if clock == "wall":
                sensors.look(time.time())
                controller.step(time.time())
            else:
                for event in waiting(workspace.store, CLOCK):
                    sensors.look(event.time)
                    plan = controller.step(event.time)
                    finish(workspace.store, event.id, {"generation": plan.generation if plan else 0})
            for line in story.news():
                _log.info("%-9s %s", line.kind, line.text, extra=line.fields)
            stop.wait(1.0 if clock == "wall" else 0.02)
    keeper.seal(time.time())
