"""How one step executes: what an executor is given, what it gives back. The loop over the graph is the engine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from everloop.pipelines.artifacts import Artifact
from everloop.pipelines.step import Step

__all__ = ["Executor", "RemoteError", "StepResult", "StepTask", "Usage", "base_of"]


@dataclass(frozen=True)
class StepTask:
    """One call of a step: small constants as JSON, everything else as stored artifacts."""

    name: str
    step: Step[..., Any]
    parameters: Mapping[str, bytes] = field(default_factory=dict)
    inputs: Mapping[str, Artifact] = field(default_factory=dict)
    root: Path = Path()
    """The project's folder there."""


class Usage(msgspec.Struct, frozen=True):
    """What a step took: seconds, seconds of processors, and the most memory that its process has held by its end."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class StepResult:
    """The stored outputs of a step by name, and what it took."""

    outputs: Mapping[str, Artifact]
    usage: Usage | None = None


def base_of(step: Step[..., Any]) -> Path:
    """Return the folder that the step's module is imported from, which need not stand in sys.path."""
    name = step.function.__module__
    path = Path(step.function.__code__.co_filename).resolve()
    depth = name.count(".") + (path.name == "__init__.py")
    return path.parents[min(depth, len(path.parents) - 1)]


class RemoteError(Exception):
    """An error of a step that ran elsewhere: the name of its class, and its text."""


class Executor(Protocol):
    """Executes steps, here or elsewhere, at most `slots` at a time; a future carries the step's own error."""

    slots: int

    def fits(self, step: Step[..., Any], running: Sequence[Step[..., Any]]) -> bool:
        """Tell whether there is room for a step beside those that run; asked only where some do."""

    def submit(self, task: StepTask) -> Future[StepResult]:
        """Begin a step and return its future result."""

    def close(self) -> None:
        """End what still runs."""
