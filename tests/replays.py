"""Replays of small projects in process, with a controller that may crash and start again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import store as tables
from everloop.loop.controller import Controller
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace
from everloop.replay.backtest import InProcess
from everloop.replay.history import History, load_history
from everloop.replay.player import Played, play
from everloop.replay.scratch import scratch_workspace
from everloop.settings import load, seconds


class Replayed(msgspec.Struct):
    """A finished replay: its workspace, history and answers."""

    workspace: Workspace
    history: History
    played: Played

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """Return all rows of a table, in the order of their keys."""
        order = table.c.number if "number" in table.c else next(iter(table.primary_key.columns))
        return self.workspace.store.rows(sa.select(table).order_by(order))


class Restarting:
    """A controller that is built anew, on a workspace of its own, whenever it crashes."""

    def __init__(self, build: Callable[[], Controller], crash: type[BaseException]) -> None:
        self._build, self._crash = build, crash
        self._controller: Controller | None = None

    def step(self, now: float) -> Any:
        while True:
            try:
                if self._controller is None:
                    self._controller = self._build()
                return self._controller.step(now)
            except self._crash:
                self.close()

    def close(self) -> None:
        if self._controller is not None:
            self._controller.close()
            self._controller = None


class NeverError(Exception):
    """Is never raised."""


@contextlib.contextmanager
def replay(
    folder: Path,
    state: Path,
    prepare: Callable[[Workspace], None] = lambda _: None,
    crash: type[BaseException] = NeverError,
) -> Iterator[Replayed]:
    """Replay a project's history; `prepare` changes each workspace that a controller is built on."""
    settings = load(folder)
    history = load_history(folder, settings)
    workspace = scratch_workspace(folder, settings, history, state / "state")
    takes = seconds(settings.replay.training_time)

    def build() -> Controller:
        own = Workspace(workspace.folder, workspace.settings)
        opened.append(own)
        prepare(own)
        controller = build_controller(own, training_time=lambda decided: decided + takes, report=lambda _: None)
        develop_with = getattr(own, "develop_with", None)
        if develop_with:
            real = controller._develop
            controller._develop = lambda run, decided, asked: develop_with(run, decided, real, asked)
        return controller

    opened: list[Workspace] = []
    with asyncio.Runner() as runner:
        live = InProcess(workspace, Restarting(build, crash), runner)  # type: ignore[arg-type]
        live.advance(float(history.live_times[0]))
        played = play(history, live, seconds(settings.replay.label_delay), lambda _day, _days: None)
        live.close()
    for own in opened:
        own.store.close()
    yield Replayed(workspace, history, played)
    workspace.close()


def facts(replayed: Replayed) -> dict[str, Any]:
    """Return all that a replay decided, without the ids of runs and where files lie."""
    decided = [
        {k: row[k] for k in ("id", "time", "response", "reason", "status")}
        | {"evidence": _without(row["evidence"], "rollout")}
        for row in replayed.rows(tables.decision)
    ]
    versions = [
        {k: row[k] for k in ("id", "sha256", "data_version", "stage", "window", "metrics", "verdict", "created")}
        for row in replayed.rows(tables.model_version)
    ]
    rollouts = [
        {k: row[k] for k in ("id", "decision", "champion", "candidate", "status", "verdict", "started", "ended")}
        for row in replayed.rows(tables.rollout)
    ]
    aliases = [{k: row[k] for k in ("name", "version", "updated")} for row in replayed.rows(tables.alias)]
    data = [{k: row[k] for k in ("id", "artifact", "rows", "parent")} for row in replayed.rows(tables.data_version)]
    signals = [{k: row[k] for k in ("name", "time", "value", "firing")} for row in replayed.rows(tables.signal)]
    return {
        "decisions": decided, "versions": versions, "rollouts": rollouts, "aliases": aliases,
        "data": data, "signals": signals,
    }  # fmt: skip


def _without(evidence: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in evidence.items() if k not in names}
