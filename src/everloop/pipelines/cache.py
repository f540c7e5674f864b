"""When a step may take over an earlier result: the key over all that the result follows from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.executors import StepTask
from everloop.pipelines.fingerprints import Code, read_code
from everloop.pipelines.outside import fingerprint_outside
from everloop.pipelines.records import Finished, finished_with_key
from everloop.pipelines.step import Step
from everloop.store import Store

__all__ = ["Cache", "Key", "complete"]


class Key(msgspec.Struct, frozen=True):
    """The hash of `parts`: step, code, parameters, environment and inputs, kept so that a miss can be explained."""

    hash: str
    parts: dict[str, Any]


class Cache:
    """Keys of the steps below one root, and the finished executions that hold them; code is read once."""

    def __init__(self, store: Store, artifacts: ArtifactStore, root: Path, environment: str | None = None) -> None:
        """`environment` names the packages of steps where they are not this process's."""
        self._environment = environment
        self._store, self._artifacts, self.root = store, artifacts, root
        self._code: dict[tuple[str, str], Code] = {}

    def key(self, task: StepTask) -> Key:
        """Return the key of one call of a step."""
        code = self._read(task.step)
        parts = {
            "step": task.step.qualified_name,
            "code": code.modules,
            "parameters": {name: msgspec.json.decode(data) for name, data in task.parameters.items()},
            "environment": {"packages": self._environment} if self._environment else code.environment,
            "inputs": {name: artifact.id for name, artifact in task.inputs.items()},
        }
        if task.step.env:
            parts["environment"] = {"everloop.pipelines.Environment": task.step.env.hash}
        if task.step.reads:
            parts["outside"] = self._outside(task)
        return _key(parts)

    def skipped(self, step: Step[..., Any]) -> Key:
        """Return the key of a call that its condition keeps from running."""
        parts: dict[str, Any] = {"code": {}, "parameters": {}, "environment": {}, "inputs": {}}
        return _key({"step": step.qualified_name, **parts, "condition": False})

    def _outside(self, task: StepTask) -> dict[str, str]:
        """Return a fingerprint of what each parameter that a step reads by leads to now."""
        known = {name: msgspec.json.decode(data) for name, data in task.parameters.items()}
        known |= {n: self._artifacts.get(a) for n, a in task.inputs.items() if n in task.step.reads}
        return {name: fingerprint_outside(known[name], Path.cwd()) for name in task.step.reads}

    def gathered(self, step: Step[..., Any], members: Sequence[str]) -> Key:
        """Return the key of the list of what calls with these keys gave."""
        inputs = {f"[{place}]": key for place, key in enumerate(members)}
        return _key({"step": step.qualified_name, "code": {}, "parameters": {}, "environment": {}, "inputs": inputs})

    def find(self, step: Step[..., Any], key: Key) -> Finished | None:
        """Return the newest finished execution with that key whose artifacts are all there, undamaged."""
        if not step.cache:
            return None
        with self._store.read() as connection:
            candidates = finished_with_key(connection, key.hash)
        return next((found for found in candidates if complete(found.outputs, step, self._artifacts)), None)

    def _read(self, step: Step[..., Any]) -> Code:
        place = (step.function.__module__, step.function.__code__.co_filename)
        if not Path(place[1]).is_file():  # typed in: each function stands for itself
            return read_code(step.function, self.root)
        if place not in self._code:
            self._code[place] = read_code(step.function, self.root)
        return self._code[place]


def _key(parts: dict[str, Any]) -> Key:
    return Key(hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest(), parts)


def complete(outputs: dict[str, Artifact], step: Step[..., Any], artifacts: ArtifactStore) -> bool:
    """Tell whether these are all outputs of the step, each there with its hash."""
    return outputs.keys() == step.outputs.keys() and all(artifacts.holds(a) for a in outputs.values())
