"""How a person asks the running controller for something: a command event, and the wait for what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from everloop import store
from everloop.errors import CheckError, SystemError_, UsageError
from everloop.loop.commands import post, result
from everloop.loop.process import holder
from everloop.loop.story import Line, Story
from everloop.loop.workspace import Workspace, opened
from everloop.types import Event, new_id

__all__ = ["ask"]

PATIENCE = 20.0  # a supervisor starts a controller that died again


def ask(folder: Path, type: str, data: dict[str, Any], on_line: Callable[[Line], None]) -> dict[str, Any]:
    """Return what came of a command, once the controller has carried it out; `on_line` is told what it does meanwhile.

    Raises `UsageError` for what cannot be done, `CheckError` for a retraining that failed, and `SystemError_` where no
    controller runs.
    """
    with opened(folder) as workspace:
        if not _controlled(workspace):
            raise SystemError_("no controller runs this project: start it with `everloop up`")
        story, now, seen = Story(workspace.store), time.time(), time.monotonic()
        event = Event(new_id(now), type, "command line", now, data=data)
        post(workspace.store, event)
        outcome: dict[str, Any] | None = None
        while outcome is None or _open(workspace, outcome):
            time.sleep(0.05)
            seen = time.monotonic() if _controlled(workspace) else seen
            if time.monotonic() - seen > PATIENCE:
                raise SystemError_("the controller is gone: the next one carries out what was asked")
            outcome = result(workspace.store, event.id)
            for line in story.news():
                on_line(line)
        if "error" in outcome:
            raise UsageError(str(outcome["error"]))
        decision = _decision(workspace, outcome)
        if decision["status"] == "failed":
            raise CheckError(str(decision["evidence"]["outcome"]["error"]))
        came: dict[str, Any] = decision["evidence"].get("outcome", {})
        return outcome | came


def _controlled(workspace: Workspace) -> bool:
    return holder(workspace.path(workspace.settings.storage.lease)) is not None


def _open(workspace: Workspace, outcome: dict[str, Any]) -> bool:
    return "error" not in outcome and _decision(workspace, outcome)["status"] == "open"


def _decision(workspace: Workspace, outcome: dict[str, Any]) -> dict[str, Any]:
    return workspace.store.rows(sa.select(store.decision).where(store.decision.c.id == outcome["decision"]))[0]
