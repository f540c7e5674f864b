"""What every executor does with a step where it runs: decode its arguments, call it, store its outputs."""

from __future__ import annotations

import contextvars
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.executors import StepResult, StepTask, Usage
from everloop.pipelines.executors.apart import call_apart
from everloop.pipelines.formats import UnserialisableError, decode
from everloop.pipelines.step import RETURN, Step

__all__ = ["arguments_of", "project_folder", "run_task"]


_root: contextvars.ContextVar[Path] = contextvars.ContextVar("root", default=Path())


def project_folder() -> Path:
    """Return the project's folder, for a step that runs; elsewhere the current one."""
    return _root.get()


def run_task(task: StepTask, artifacts: ArtifactStore) -> StepResult:
    """Return a step's stored outputs; raises the step's own error, or UnserialisableError for a wrong result."""
    began, used = time.perf_counter(), _cpu_seconds()
    named = call_apart(task, artifacts) if task.step.env else _named(_call(task, artifacts), task.step)
    outputs = {name: _store(name, value, task.step, artifacts) for name, value in named}
    return StepResult(outputs, Usage(time.perf_counter() - began, _cpu_seconds() - used, _peak_bytes()))


def arguments_of(task: StepTask, artifacts: ArtifactStore) -> dict[str, Any]:
    """Return the arguments of a step, typed by its annotations."""
    hints = task.step.hints
    arguments = {name: decode("json", data, hints.get(name)) for name, data in task.parameters.items()}
    return arguments | {name: artifacts.get(artifact, hints.get(name)) for name, artifact in task.inputs.items()}


def _call(task: StepTask, artifacts: ArtifactStore) -> Any:
    arguments = arguments_of(task, artifacts)
    token = _root.set(task.root)
    try:
        return task.step.function(**arguments)
    finally:
        _root.reset(token)


def _store(name: str, value: Any, step: Step[..., Any], artifacts: ArtifactStore) -> Artifact:
    if isinstance(value, Artifact):  # it is stored already
        return value
    try:
        return artifacts.put(value, step.outputs[name])
    except UnserialisableError as error:
        what = "its result" if name == RETURN else f"its output {name!r}"
        raise UnserialisableError(f"{what} is {error}") from error


def _cpu_seconds() -> float:
    """Return what this process and the children that it waited for have used."""
    return sum(os.times()[:4])


def _peak_bytes() -> int:
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return largest if sys.platform == "darwin" else largest * 1024


def _named(returned: Any, step: Step[..., Any]) -> list[tuple[str, Any]]:
    names = list(step.outputs)
    if names == [RETURN]:
        return [(RETURN, returned)]
    if type(returned) is not step.hints["return"]:
        given, expected = type(returned).__name__, step.hints["return"].__name__
        raise UnserialisableError(f"its result is a {given} and no {expected}: correct its annotation")
    return list(zip(names, returned, strict=True))
