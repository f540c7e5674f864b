"""Steps run in this process, one after the other."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.executors import StepResult, StepTask
from everloop.pipelines.formats import UnserialisableError, decode
from everloop.pipelines.step import RETURN, Step

__all__ = ["LocalExecutor"]


class LocalExecutor:
    """Runs a step when it is submitted; its future is done at once."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    def submit(self, task: StepTask) -> Future[StepResult]:
        """Run the step now; the future is done on return."""
        future: Future[StepResult] = Future()
        try:
            future.set_result(self._run(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def _run(self, task: StepTask) -> StepResult:
        hints = task.step.hints
        arguments = {name: decode("json", data, hints.get(name)) for name, data in task.parameters.items()}
        arguments |= {name: self._artifacts.get(artifact, hints.get(name)) for name, artifact in task.inputs.items()}
        returned = task.step.function(**arguments)
        return StepResult({name: self._store(name, value, task.step) for name, value in _named(returned, task.step)})

    def _store(self, name: str, value: Any, step: Step[..., Any]) -> Any:
        try:
            return self._artifacts.put(value, step.outputs[name])
        except UnserialisableError as error:
            what = "its result" if name == RETURN else f"its output {name!r}"
            raise UnserialisableError(f"{what} is {error}") from error


def _named(returned: Any, step: Step[..., Any]) -> list[tuple[str, Any]]:
    names = list(step.outputs)
    if names == [RETURN]:
        return [(RETURN, returned)]
    if type(returned) is not step.hints["return"]:
        given, expected = type(returned).__name__, step.hints["return"].__name__
        raise UnserialisableError(f"its result is a {given} and no {expected}: correct its annotation")
    return list(zip(names, returned, strict=True))
