"""How one step executes: what an executor is given, what it gives back. The loop over the graph is the engine's."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from everloop.pipelines.artifacts import Artifact
from everloop.pipelines.step import Step

__all__ = ["Executor", "StepResult", "StepTask"]


@dataclass(frozen=True)
class StepTask:
    """One call of a step: small constants as JSON, everything else as stored artifacts."""

    name: str
    step: Step[..., Any]
    parameters: Mapping[str, bytes] = field(default_factory=dict)
    inputs: Mapping[str, Artifact] = field(default_factory=dict)


@dataclass(frozen=True)
class StepResult:
    """The stored outputs of a step by name."""

    outputs: Mapping[str, Artifact]


class Executor(Protocol):
    """Executes one step, here or elsewhere; the future carries the step's own error."""

    def submit(self, task: StepTask) -> Future[StepResult]:
        """Begin a step and return its future result."""
