"""The backtest: history through the plane, journal and controller of production, in one process, without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from everloop.journal import TickWriter, Writer
from everloop.loop.controller import Controller
from everloop.loop.monitoring import Monitor
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace
from everloop.pipelines import Progress
from everloop.replay.history import History, load_history
from everloop.replay.player import Answer, Played, answer_of, play, request_of
from everloop.replay.report import Series, write
from everloop.replay.scratch import scratch_workspace
from everloop.replay.summary import compare, describe, signals
from everloop.replay.usage import Usage
from everloop.serving.clock import event_clock
from everloop.serving.metrics import Metrics
from everloop.serving.models import ModelLoader
from everloop.serving.plane import Context, Plane
from everloop.serving.protocol import FeedbackItem
from everloop.settings import load, seconds
from everloop.types import Feedback, Plan

__all__ = ["InProcess", "backtest", "run_backtest", "state_folder"]


def run_backtest(
    folder: Path,
    source: str | None,
    out: Path,
    *,
    schedules: bool = True,
    on_stage: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Return the summary of a backtest of the project in `folder`, and leave it in `out` with its report.

    The project's own state is neither read nor changed: the replay keeps its own under `.everloop/backtest`.
    """
    with Usage() as usage:
        settings = load(folder)
        on_stage("training")
        history = load_history(folder, settings, source)
        workspace = scratch_workspace(folder, settings, history, state_folder(folder))
        try:

            def on_day(day: int, days: int) -> None:
                on_stage("replaying")
                on_progress(day, days)

            played = backtest(workspace, history, on_day)
            on_stage("comparing")
            calendars = ("weekly", "monthly", "calendar") if schedules else ()
            compared = compare(workspace, history, played, on_progress, calendars=calendars)
            summary = {"data": {"rows": len(history.table)}, "predictions": {"sent": len(played.versions), "failed": 0}}
            summary |= describe(workspace, history, played, compared) | usage.figures()
            series = Series(history.live_times, compared.losses, played.versions, compared.metric)
            write(out, f"Backtest of {workspace.name}", summary, series, signals(workspace))
        finally:
            workspace.close()
    return summary


def backtest(
    workspace: Workspace,
    history: History,
    on_day: Callable[[int, int], None],
    on_step: Callable[[Progress], None] = lambda _: None,
) -> Played:
    """Train on what is known, then play the rest; decisions, versions and rollouts stand in the workspace's store."""
    replay = workspace.settings.replay
    duration = seconds(replay.training_time)
    controller = build_controller(workspace, training_time=lambda decided: decided + duration, report=on_step)
    with asyncio.Runner() as runner:
        live = InProcess(workspace, controller, runner, _monitor(workspace))
        try:
            live.advance(float(history.live_times[0]))
            return play(history, live, seconds(replay.label_delay), on_day)
        finally:
            live.close()


def _monitor(workspace: Workspace) -> Monitor | None:
    """Return a monitor where something acts on what it says."""
    return Monitor(workspace) if workspace.settings.triggers.of("data_drift") else None


class InProcess:
    """The serving plane, the controller and perhaps the monitor in this process; `advance` is one step of these."""

    def __init__(
        self, workspace: Workspace, controller: Controller, runner: asyncio.Runner, monitor: Monitor | None = None
    ) -> None:
        self._controller, self._monitor, self._runner = controller, monitor, runner
        self._model = workspace.name
        self._journal = TickWriter(Writer(workspace.journal))
        loader = ModelLoader(workspace.folder, workspace.keys)
        self._plane = Plane(loader, self._journal, event_clock, Metrics())
        self._plan: Plan | None = None
        self._datatypes: dict[str, str] = {}

    def predict(self, id: str, time: float, inputs: dict[str, Any]) -> Answer:
        """Answer one row."""
        request = request_of(id, time, inputs, self._datatypes)
        return answer_of(self._runner.run(self._plane.infer(request, Context(self._model, lambda _: None))))

    def label(self, labels: list[Feedback]) -> None:
        """Journal labels."""
        items = [FeedbackItem(prediction=f.prediction, value=f.value, time=f.time) for f in labels]
        self._runner.run(self._plane.feedback(self._model, items))

    def advance(self, now: float) -> None:
        """Step the monitor and the controller, and answer by its plan from then on."""
        if self._monitor:
            self._monitor.step(now)
        plan = self._controller.step(now)
        if plan is not None and plan != self._plan:
            self._runner.run(self._plane.take(plan))
            self._plan = plan
            inputs = self._plane.metadata(self._model).inputs
            self._datatypes = {column.name: column.datatype for column in inputs}

    def close(self) -> None:
        """Close the journal, and what the controller reads."""
        self._runner.run(self._journal.close())
        self._controller.close()
        if self._monitor:
            self._monitor.close()


def state_folder(project: Path) -> Path:
    """Return where a project's backtest keeps its state."""
    return project / ".everloop" / "backtest"
