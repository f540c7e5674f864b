"""One loop over the graph of a pipeline: what is finished is kept, what is cached is taken over, the rest runs."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from everloop.errors import EverloopError, StepError
from everloop.pipelines import records
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.cache import Cache, Key, complete
from everloop.pipelines.constants import Constants
from everloop.pipelines.executors import Executor, StepTask
from everloop.pipelines.graph import Graph, Output, trace
from everloop.pipelines.records import Finished
from everloop.pipelines.step import Pipeline
from everloop.store import Store
from everloop.types import new_id

__all__ = ["Engine", "Execution", "Progress", "Run"]

Status = Literal["ran", "cached", "kept"]
_LOG_LINES = 60


class Execution(msgspec.Struct, frozen=True):
    """What became of one step: it `ran`, was `cached` by another run, or was `kept` from this run's earlier attempt."""

    id: int
    step: str
    key: str
    status: Status
    outputs: dict[str, Artifact]


class Run(msgspec.Struct, frozen=True):
    """A finished run: its outputs by name (`return` where there is one), their artifacts, and its executions."""

    id: str
    outputs: dict[str, Any]
    artifacts: dict[str, Artifact]
    executions: list[Execution]

    @property
    def value(self) -> Any:
        """The one output of a pipeline that returns a single value."""
        return self.outputs["return"]


class Progress(msgspec.Struct, frozen=True):
    """A step has started (`running`) or is there (`ran`, `cached`, `kept`): the `index`th of `total`, from 1."""

    step: str
    status: Literal["running", "ran", "cached", "kept"]
    index: int
    total: int


class Engine:
    """Runs pipelines against one store; several engines, also in several processes, may share it."""

    def __init__(
        self, store: Store, artifacts: ArtifactStore, executor: Executor, root: Path, clock: Callable[[], float]
    ) -> None:
        """`root` is the project's folder, whose modules the cache follows; `clock` gives the event time of rows."""
        self._store, self._artifacts, self._executor = store, artifacts, executor
        self._root, self._clock = root, clock

    def run(
        self,
        pipeline: Pipeline[..., Any],
        arguments: Mapping[str, Any],
        *,
        run_id: str | None = None,
        event: str | None = None,
        decision: str | None = None,
        commit: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Run:
        """Run a pipeline, or go on with the run of that id from its last finished step.

        An argument may be an Artifact of an earlier run. A run that is finished gives its outputs again. Raises
        StepError when a step fails; UsageError, before anything is stored as a run, when the pipeline or an argument is
        wrong.
        """
        graph = trace(pipeline, arguments)
        order = graph.order()
        constants = Constants(self._artifacts)
        calls = [(node, *constants.of_node(node)) for node in order]
        parameters = constants.of_run(pipeline, pipeline.bind(dict(arguments)))
        id = run_id or new_id(self._clock())
        why = {"event": event, "decision": decision, "commit": commit}
        before = self._start({"id": id, "pipeline": pipeline.name, "parameters": parameters, **why})
        attempt = _Attempt(id, before == "finished", Cache(self._store, self._artifacts, self._root))
        if before is not None:
            with self._store.read() as connection:
                attempt.kept = records.finished_in_run(connection, id)
        tell = on_progress or (lambda _: None)
        for index, (node, small, stored) in enumerate(calls, 1):
            inputs = {name: attempt.made[s.node].outputs[s.name] for name, s in node.sources.items()}
            task = StepTask(node.name, node.step, small, {**stored, **inputs})
            tell(Progress(node.name, "running", index, len(order)))
            attempt.made[node.name] = done = self._execute(task, attempt)
            tell(Progress(node.name, done.status, index, len(order)))
        if before != "finished":
            with self._store.begin() as connection:
                records.finish_run(connection, id, self._clock())
        return self._finished(graph, attempt)

    def _start(self, row: Mapping[str, Any]) -> str | None:
        """Store the run's row; returns the status of an earlier attempt at it."""
        with self._store.begin() as connection:
            return records.start_run(connection, {**row, "started": self._clock()})

    def _execute(self, task: StepTask, attempt: _Attempt) -> Execution:
        key = attempt.cache.key(task)
        kept = attempt.kept.get(task.name)
        if kept and (kept.key == key.hash or attempt.finished) and complete(kept.outputs, task.step, self._artifacts):
            return Execution(kept.id, task.name, kept.key, "kept", kept.outputs)
        if found := attempt.cache.find(task.step, key):
            with self._store.begin() as connection:
                id = records.take_over(connection, attempt.run, task.name, found, key.parts, task.inputs, self._clock())
            return Execution(id, task.name, key.hash, "cached", found.outputs)
        return self._run_step(task, attempt.run, key)

    def _run_step(self, task: StepTask, run: str, key: Key) -> Execution:
        with self._store.begin() as connection:
            id = records.start_step(connection, run, task.name, key.hash, key.parts, task.inputs, self._clock())
        future = self._executor.submit(task)
        if error := future.exception():
            reason = str(error) if isinstance(error, EverloopError) else f"{type(error).__name__}: {error}"
            log = "".join("".join(traceback.format_exception(error)).splitlines(keepends=True)[-_LOG_LINES:])
            with self._store.begin() as connection:
                records.fail_step(connection, run, id, reason, log, self._clock())
            raise StepError(task.name, reason, run) from error
        outputs = dict(future.result().outputs)
        with self._store.begin() as connection:
            records.finish_step(connection, id, outputs, self._clock())
        return Execution(id, task.name, key.hash, "ran", outputs)

    def _finished(self, graph: Graph, attempt: _Attempt) -> Run:
        nodes = {node.name: node for node in graph.nodes}
        values, artifacts = {}, {}
        for name, value in graph.outputs.items():
            if isinstance(value, Output):
                artifacts[name] = attempt.made[value.node].outputs[value.name]
                value = self._artifacts.get(artifacts[name], nodes[value.node].step.outputs[value.name])
            values[name] = value
        return Run(attempt.run, values, artifacts, list(attempt.made.values()))


class _Attempt:
    """What one call of `Engine.run` knows: what an earlier attempt finished, and what is made so far."""

    def __init__(self, run: str, finished: bool, cache: Cache) -> None:
        self.run, self.finished, self.cache = run, finished, cache
        self.kept: dict[str, Finished] = {}
        self.made: dict[str, Execution] = {}
