"""The backtest: history through the plane, journal and controller of production, in one process, without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from everloop.journal import TickWriter, Writer
from everloop.loop.controller import Controller
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace
from everloop.pipelines import Progress
from everloop.replay.history import History
from everloop.replay.player import Answer, Played, play
from everloop.serving.clock import event_clock
from everloop.serving.metrics import Metrics
from everloop.serving.models import ModelLoader
from everloop.serving.plane import Context, Plane
from everloop.serving.protocol import FeedbackItem, InferRequest, Tensor
from everloop.settings import seconds
from everloop.types import Feedback, Plan

__all__ = ["InProcess", "backtest", "state_folder"]


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
        live = InProcess(workspace, controller, runner)
        try:
            live.advance(float(history.live_times[0]))
            return play(history, live, seconds(replay.label_delay), on_day)
        finally:
            live.close()


class InProcess:
    """The serving plane and the controller in this process; `advance` is one step of the controller."""

    def __init__(self, workspace: Workspace, controller: Controller, runner: asyncio.Runner) -> None:
        self._controller, self._runner, self._model = controller, runner, workspace.name
        self._journal = TickWriter(Writer(workspace.journal))
        loader = ModelLoader(workspace.folder, workspace.keys)
        self._plane = Plane(loader, self._journal, event_clock, Metrics())
        self._plan: Plan | None = None
        self._datatypes: dict[str, str] = {}

    def predict(self, id: str, time: float, inputs: dict[str, Any]) -> Answer:
        """Answer one row."""
        tensors = [Tensor(name, [1], self._datatypes[name], [_plain(value)]) for name, value in inputs.items()]
        request = InferRequest(tensors, id, {"time": time})
        response = self._runner.run(self._plane.infer(request, Context(self._model, lambda _: None)))
        return Answer(response.model_version, {o.name: _rows(o.shape, o.data) for o in response.outputs})

    def label(self, labels: list[Feedback]) -> None:
        """Journal labels."""
        items = [FeedbackItem(prediction=f.prediction, value=f.value, time=f.time) for f in labels]
        self._runner.run(self._plane.feedback(self._model, items))

    def advance(self, now: float) -> None:
        """Step the controller, and answer by its plan from then on."""
        plan = self._controller.step(now)
        if plan is not None and plan != self._plan:
            self._runner.run(self._plane.take(plan))
            self._plan = plan
            inputs = self._plane.metadata(self._model).inputs
            self._datatypes = {column.name: column.datatype for column in inputs}

    def close(self) -> None:
        """Close the journal."""
        self._runner.run(self._journal.close())


def state_folder(project: Path) -> Path:
    """Return where a project's backtest keeps its state."""
    return project / ".everloop" / "backtest"


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _rows(shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    if len(shape) < 2:
        return data
    width = shape[1]
    return [data[i : i + width] for i in range(0, len(data), width)]
