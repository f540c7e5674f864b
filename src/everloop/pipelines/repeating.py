"""One step once more, with the inputs that a run recorded: in this process, so that a debugger sees it."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import store as tables
from everloop.errors import NotFoundError, UsageError
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.executors import StepTask
from everloop.pipelines.executors.running import arguments_of
from everloop.pipelines.step import Step
from everloop.store import Store

__all__ = ["Repeated", "arguments_of_run", "repeat_step"]


class Repeated(msgspec.Struct, frozen=True):
    """What a step gave this time: of which run its inputs are, how that ended, and how long it took now."""

    step: str
    run: str
    status: str
    seconds: float
    value: Any


def repeat_step(store: Store, artifacts: ArtifactStore, name: str, run: str | None = None) -> Repeated:
    """Call a step with the inputs of its newest execution (of one run), failed ones too; nothing is stored.

    The code is that of today. Raises what the step raises, `NotFoundError` for one that never ran, and `UsageError` for
    one whose function is not importable.
    """
    row = _newest(store, name, run)
    step, arguments = _recorded(store, artifacts, name, row)
    if missing := [n for n in step.signature.parameters if n not in arguments]:
        raise UsageError(f"step {name!r} recorded no {missing[0]!r}: it has changed since, or it gathers a fan-out")
    began = time.perf_counter()
    value = step.function(**arguments)
    return Repeated(name, row["run"], row["status"], time.perf_counter() - began, value)


def arguments_of_run(store: Store, artifacts: ArtifactStore, name: str, run: str) -> dict[str, Any]:
    """Return the arguments that a step had in a run; raises as `repeat_step` does."""
    return _recorded(store, artifacts, name, _newest(store, name, run))[1]


def _recorded(
    store: Store, artifacts: ArtifactStore, name: str, row: Mapping[str, Any]
) -> tuple[Step[..., Any], dict[str, Any]]:
    step = _step_of(row["key_parts"]["step"], name)
    parameters = {n: msgspec.json.encode(value) for n, value in row["key_parts"]["parameters"].items()}
    return step, arguments_of(StepTask(name, step, parameters, _inputs(store, row["id"])), artifacts)


def _newest(store: Store, name: str, run: str | None) -> Mapping[str, Any]:
    execution = tables.execution.c
    asked = [execution.step == name, *([execution.run == run] if run else [])]
    rows = store.rows(sa.select(tables.execution).where(*asked).order_by(execution.id.desc()).limit(1))
    if not rows:
        known = store.rows(sa.select(execution.step).distinct().where(*asked[1:]))
        raise NotFoundError(f"step of run {run}" if run else "step", name, [str(row["step"]) for row in known])
    return rows[0]


def _step_of(reference: str, name: str) -> Step[..., Any]:
    module, _, place = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in place.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"step {name!r} was {reference}, which cannot be imported: {error}") from error
    if not isinstance(found, Step):
        raise UsageError(f"step {name!r} was {reference}, which is a {type(found).__name__} now")
    return found


def _inputs(store: Store, execution: int) -> dict[str, Artifact]:
    link, artifact = tables.link, tables.artifact
    query = (
        sa.select(link.c.name, artifact)
        .join(artifact, artifact.c.id == link.c.artifact)
        .where(link.c.execution == execution, link.c.direction == "input")
    )
    return {row["name"]: Artifact(row["id"], row["format"], row["uri"], row["size"]) for row in store.rows(query)}
