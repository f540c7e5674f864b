"""A step as a message: what another process needs to run it, and what it answers."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec

from everloop import errors
from everloop.errors import EverloopError
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.executors import RemoteError, StepTask, Usage, base_of
from everloop.pipelines.executors.running import run_task
from everloop.pipelines.step import Step

__all__ = ["Failure", "Order", "Reply", "carry_out", "error_of", "failure_of", "is_importable", "order_of"]


class Order(msgspec.Struct):
    """What a process is to run: a step by "module:name", where modules lie, and its arguments."""

    name: str
    step: str
    paths: list[str]
    folder: str
    artifacts: str
    root: str
    parameters: dict[str, bytes]
    inputs: dict[str, Artifact]


class Failure(msgspec.Struct):
    """A step's own error: the name of its class among ours or its own, its text, and where it was raised."""

    kind: str
    ours: bool
    text: str
    trace: str


class Reply(msgspec.Struct):
    """The stored outputs of a step with what it took, or its failure."""

    outputs: dict[str, Artifact] = {}
    failure: Failure | None = None
    usage: Usage | None = None


def is_importable(task: StepTask) -> bool:
    """Tell whether another process finds the step by its name."""
    return task.step.function.__module__ != "__main__" and "<" not in task.step.function.__qualname__


def order_of(task: StepTask, artifacts: str) -> Order:
    """Return the order for a step whose artifacts lie at this URL."""
    return Order(
        task.name, task.step.qualified_name, [*sys.path, str(base_of(task.step))], str(Path.cwd()), artifacts,
        str(task.root), dict(task.parameters), dict(task.inputs),
    )  # fmt: skip


def carry_out(order: Order) -> Reply:
    """Run a step in this process; raises what it raises."""
    known = set(sys.path)
    sys.path[:0] = [path for path in order.paths if path not in known]
    os.chdir(order.folder)
    module, _, name = order.step.partition(":")
    step: Any = importlib.import_module(module)
    for part in name.split("."):
        step = getattr(step, part)
    assert isinstance(step, Step)
    task = StepTask(order.name, step, order.parameters, order.inputs, Path(order.root))
    result = run_task(task, ArtifactStore(order.artifacts))
    return Reply(dict(result.outputs), usage=result.usage)


def failure_of(error: BaseException) -> Failure:
    """Return an error as it travels."""
    trace = "".join(traceback.format_exception(error))
    ours = isinstance(error, EverloopError) and type(error).__module__ == "everloop.errors"
    return Failure(type(error).__name__, ours, str(error), trace)


def error_of(failure: Failure) -> Exception:
    """Return the step's error as far as it can travel: ours as what it was, any other by name."""
    kind: Any = getattr(errors, failure.kind, None) if failure.ours else None
    if kind is None:
        error: Exception = RemoteError(f"{failure.kind}: {failure.text}" if failure.text else failure.kind)
    else:
        error = kind.__new__(kind)
        Exception.__init__(error, failure.text)
    error.add_note(failure.trace)
    return error
