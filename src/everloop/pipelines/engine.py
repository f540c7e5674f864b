"""Runs pipelines: traces the graph, works it off, stores run, executions and what they made."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from everloop.errors import NotFoundError, StepError, UsageError
from everloop.pipelines import records
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.attempt import Attempt, Execution, Progress
from everloop.pipelines.cache import Cache
from everloop.pipelines.constants import Constants
from everloop.pipelines.executors import Executor
from everloop.pipelines.fan_out import Call, FanOut
from everloop.pipelines.graph import Graph, Output, trace
from everloop.pipelines.step import Pipeline
from everloop.store import Store
from everloop.types import new_id

__all__ = ["Engine", "Execution", "Progress", "Run"]

_Report = Callable[[Progress], None]


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


class _Opened(NamedTuple):
    """A run as its row is stored, and an attempt at it."""

    id: str
    graph: Graph
    calls: list[Call]
    attempt: Attempt


class Engine:
    """Runs pipelines against one store; several engines, also in several processes, may share it."""

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactStore,
        executor: Executor,
        root: Path,
        clock: Callable[[], float],
        pause: Callable[[float], None] = time.sleep,
        *,
        environment: str | None = None,
    ) -> None:
        """`root` is the project's folder, whose modules the cache follows; `clock` gives the event time of rows.

        `pause` waits so many seconds before a step is tried again. `environment` names the packages of an executor that
        has others than this process.
        """
        self._store, self._artifacts, self._executor = store, artifacts, executor
        self._root, self._clock, self._pause = root, clock, pause
        self._environment = environment

    def run(
        self,
        pipeline: Pipeline[..., Any],
        arguments: Mapping[str, Any],
        *,
        run_id: str | None = None,
        event: str | None = None,
        decision: str | None = None,
        commit: str | None = None,
        on_progress: _Report | None = None,
    ) -> Run:
        """Run a pipeline, or go on with the run of that id from its last finished step.

        An argument may be an Artifact of an earlier run. A run that is finished gives its outputs again. Raises
        StepError when a step fails; UsageError, before anything is stored as a run, when the pipeline or an argument is
        wrong.
        """
        why = {"event": event, "decision": decision, "commit": commit}
        opened = self._open(pipeline, arguments, run_id, why)
        opened.attempt.work_off(opened.calls, on_progress or (lambda _: None))
        if not opened.attempt.finished:
            self.finish(opened.id)
        return self._outcome(opened)

    def run_nodes(
        self,
        pipeline: Pipeline[..., Any],
        arguments: Mapping[str, Any],
        nodes: Sequence[str],
        *,
        run_id: str,
        element: int | None = None,
        commit: str | None = None,
        finish: bool = False,
        on_progress: _Report | None = None,
    ) -> list[Execution]:
        """Bring some nodes of a run to their outputs, or one `element` of a mapped node; `finish` ends the run.

        For an engine that owns its own loop over the graph: what these nodes need must be finished. Raises as `run`.
        """
        opened = self._open(pipeline, arguments, run_id, {"commit": commit})
        calls = [_call_of(opened, name) for name in nodes]
        _take_kept(opened, calls)
        if element is not None:
            members = opened.attempt.spread(calls[0]) if opened.attempt.wanted(calls[0].node) else []
            calls = [member._replace(of="") for member in members[element : element + 1]]
        opened.attempt.work_off(calls, on_progress or (lambda _: None))
        if finish and not opened.attempt.finished:
            self.finish(run_id)
        return [opened.attempt.made[call.node.name] for call in calls]

    def elements_of(self, pipeline: Pipeline[..., Any], arguments: Mapping[str, Any], node: str, *, run_id: str) -> int:
        """Return how many calls a mapped node of a run becomes; none where its condition is false."""
        opened = self._open(pipeline, arguments, run_id, {})
        call = _call_of(opened, node)
        _take_kept(opened, [call])
        return len(opened.attempt.spread(call)) if opened.attempt.wanted(call.node) else 0

    def is_wanted(self, pipeline: Pipeline[..., Any], arguments: Mapping[str, Any], node: str, *, run_id: str) -> bool:
        """Tell whether the condition of a node of a run lets it run."""
        opened = self._open(pipeline, arguments, run_id, {})
        call = _call_of(opened, node)
        _take_kept(opened, [call])
        return opened.attempt.wanted(call.node)

    def begin(
        self,
        pipeline: Pipeline[..., Any],
        arguments: Mapping[str, Any],
        *,
        run_id: str | None = None,
        event: str | None = None,
        decision: str | None = None,
        commit: str | None = None,
    ) -> str:
        """Store the row of a run that is worked off elsewhere, or go on with the run of that id; returns its id."""
        why = {"event": event, "decision": decision, "commit": commit}
        return self._open(pipeline, arguments, run_id, why).id

    def is_finished(self, run: str) -> bool:
        """Tell whether a run is."""
        return records.status_of(self._store, run) == "finished"

    def progress_of(self, run: str) -> list[Progress]:
        """Return what a run that is worked off elsewhere has finished so far."""
        with self._store.read() as connection:
            done = records.finished_in_run(connection, run)
        return [Progress(name, "ran", place, len(done)) for place, name in enumerate(done, 1)]

    def raise_failure(self, run: str) -> None:
        """Raise StepError for the step that failed in a run that is worked off elsewhere; nothing where none did."""
        if failed := records.failed_in_run(self._store, run):
            raise StepError(*failed, run)

    def outcome(self, pipeline: Pipeline[..., Any], arguments: Mapping[str, Any], *, run_id: str) -> Run:
        """Return what a run that was worked off elsewhere came to; raises UsageError where it is not finished."""
        opened = self._open(pipeline, arguments, run_id, {})
        if not opened.attempt.finished:
            raise UsageError(f"run {run_id} of pipeline {pipeline.name!r} is not finished")
        _take_kept(opened, [])
        return self._outcome(opened)

    def _open(
        self,
        pipeline: Pipeline[..., Any],
        arguments: Mapping[str, Any],
        run_id: str | None,
        why: Mapping[str, str | None],
    ) -> _Opened:
        """Trace a pipeline and store its run's row."""
        graph = trace(pipeline, arguments)
        constants = Constants(self._artifacts)
        calls = [Call(node, *constants.of_node(node)) for node in graph.order()]
        parameters = constants.of_run(pipeline, pipeline.bind(dict(arguments)))
        id = run_id or new_id(self._clock())
        row = {"id": id, "pipeline": pipeline.name, "parameters": parameters, **why, "started": self._clock()}
        with self._store.begin() as connection:
            before = records.start_run(connection, row)
        cache = Cache(self._store, self._artifacts, self._root, self._environment)
        attempt = Attempt(
            id, self._store, self._artifacts, self._executor, cache, FanOut(self._artifacts, constants),
            self._clock, self._pause,
        )  # fmt: skip
        attempt.finished = before == "finished"
        if before is not None:
            with self._store.read() as connection:
                attempt.kept = records.finished_in_run(connection, id)
        return _Opened(id, graph, calls, attempt)

    def finish(self, run: str) -> None:
        """Mark a run as finished."""
        with self._store.begin() as connection:
            records.finish_run(connection, run, self._clock())

    def _outcome(self, opened: _Opened) -> Run:
        nodes, made = {node.name: node for node in opened.graph.nodes}, opened.attempt.made
        values, artifacts = {}, {}
        for name, value in opened.graph.outputs.items():
            if isinstance(value, Output):
                artifacts[name] = made[value.node].outputs[value.name]
                value = self._artifacts.get(artifacts[name], nodes[value.node].outputs[value.name])
            values[name] = value
        return Run(opened.id, values, artifacts, list(made.values()))


def _call_of(opened: _Opened, node: str) -> Call:
    calls = {call.node.name: call for call in opened.calls}
    if node not in calls:
        raise NotFoundError(f"step of pipeline {opened.graph.name}", node, list(calls))
    return calls[node]


def _take_kept(opened: _Opened, calls: Sequence[Call]) -> None:
    """Take the other nodes as they were left; raises UsageError where a call needs one that is not there."""
    own = {call.node.name for call in calls}
    for name, kept in opened.attempt.kept.items():
        if name not in own and "[" not in name:
            opened.attempt.made[name] = Execution(kept.id, name, kept.key, "kept", kept.outputs)
    for call in calls:
        for needed in call.node.needs:
            if needed not in own and needed not in opened.attempt.made:
                raise UsageError(f"step {call.node.name!r} needs {needed!r}, which run {opened.id} has not finished")
