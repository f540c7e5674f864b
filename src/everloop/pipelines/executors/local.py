"""Steps run in this process, one after the other: for a debugger, and for steps that were typed in."""

from __future__ import annotations

from concurrent.futures import Future

from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.executors import StepResult, StepTask
from everloop.pipelines.executors.running import run_task

__all__ = ["LocalExecutor"]


class LocalExecutor:
    """Runs a step when it is submitted; its future is done at once. A step's timeout cannot be held here."""

    slots = 1

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

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
