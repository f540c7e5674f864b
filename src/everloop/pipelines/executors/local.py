"""Steps run in this process, one after the other: for a debugger, and for steps that were typed in."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.executors import StepResult, StepTask
from everloop.pipelines.executors.running import run_task
from everloop.pipelines.step import Step

__all__ = ["LocalExecutor"]


class LocalExecutor:
    """Runs a step when it is submitted; its future is done at once. A step's timeout cannot be held here."""

    slots = 1

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    def fits(self, _step: Step[..., Any], _running: Sequence[Step[..., Any]]) -> bool:
        """Nothing runs beside another step here."""
        return False

    def submit(self, task: StepTask) -> Future[StepResult]:
        """Run the step now; the future is done on return."""
        future: Future[StepResult] = Future()
        try:
            future.set_result(run_task(task, self._artifacts))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing is left open."""
