"""How a person asks for something: a command event, carried out by the controller that runs, or by ourselves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from everloop import store
from everloop.errors import BusyError, CheckError, SystemError_, UsageError
from everloop.loop.commands import DEPLOY, post, result
from everloop.loop.election import elected, somebody_elected
from everloop.loop.lease import holder, lease
from everloop.loop.process import carry_out_asked
from everloop.loop.runners import executor_of
from everloop.loop.schemas import check_columns, frozen_schema
from everloop.loop.story import Line, Story
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace, opened
from everloop.pipelines import Progress
from everloop.types import Event, new_id

__all__ = ["ask"]

PATIENCE = 20.0  # a supervisor starts a controller that died again
Lines = Callable[[Line], None]


def ask(
    folder: Path,
    type: str,
    data: dict[str, Any],
    on_line: Lines = lambda _line: None,
    on_step: Callable[[Progress], None] = lambda _step: None,
) -> dict[str, Any]:
    """Return what came of a command, once it is carried out: by the controller that runs, else here and now.

    `on_line` is told what happens meanwhile, `on_step` of each step of a retraining that runs here. Raises `UsageError`
    for what cannot be done, `CheckError` for a retraining that failed.
    """
    with opened(folder) as workspace:
        if type == DEPLOY and (schema := frozen_schema(workspace)):
            check_columns(workspace, schema)
        story, now = Story(workspace.store), time.time()
        event = Event(new_id(now), type, "command line", now, data=data)
        post(workspace.store, event)

        def tell() -> None:
            for line in story.news():
                on_line(line)

        def stepped(progress: Progress) -> None:
            on_step(progress)
            tell()

        if _controlled(workspace) or not _carry_out_here(workspace, stepped):
            _wait(workspace, event.id, tell)
        tell()
        return _outcome(workspace, event.id)


def _carry_out_here(workspace: Workspace, report: Callable[[Progress], None]) -> bool:
    """Be the controller for as long as it takes to do what was asked; False where another one came first."""
    try:
        with elected(workspace.store), lease(workspace.path(workspace.settings.storage.lease)):
            with contextlib.closing(executor_of(workspace)) as executor:
                controller = build_controller(
                    workspace, training_time=lambda _: time.time(), report=report, executor=executor
                )
                with contextlib.closing(controller):
                    carry_out_asked(workspace, controller, "wall")
    except BusyError:
        return False
    return True


def _wait(workspace: Workspace, event: str, tell: Callable[[], None]) -> None:
    """Wait until the controller has carried out an event and what it decided."""
    seen, outcome = time.monotonic(), None
    while outcome is None or _open(workspace, outcome):
        time.sleep(0.05)
        seen = time.monotonic() if _controlled(workspace) else seen
        if time.monotonic() - seen > PATIENCE:
            raise SystemError_("the controller is gone: the next one carries out what was asked")
        outcome = result(workspace.store, event)
        tell()


def _outcome(workspace: Workspace, event: str) -> dict[str, Any]:
    outcome = result(workspace.store, event) or {"error": "it was not carried out"}
    if "error" in outcome:
        raise UsageError(str(outcome["error"]))
    decision = _decision(workspace, outcome)
    if decision["status"] == "failed":
        raise CheckError(str(decision["evidence"]["outcome"]["error"]))
    came: dict[str, Any] = decision["evidence"].get("outcome", {})
    return outcome | came


def _controlled(workspace: Workspace) -> bool:
    here = holder(workspace.path(workspace.settings.storage.lease)) is not None
    return here or somebody_elected(workspace.store)


def _open(workspace: Workspace, outcome: dict[str, Any]) -> bool:
    return "error" not in outcome and _decision(workspace, outcome)["status"] == "open"


def _decision(workspace: Workspace, outcome: dict[str, Any]) -> dict[str, Any]:
    return workspace.store.rows(sa.select(store.decision).where(store.decision.c.id == outcome["decision"]))[0]
