"""One loop over the graph of a pipeline: what is finished is kept, what is cached is taken over, the rest runs."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from everloop.errors import CheckError, EverloopError, StepError, UsageError
from everloop.pipelines import records
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.cache import Cache, Key, complete
from everloop.pipelines.constants import Constants
from everloop.pipelines.executors import Executor, RemoteError, StepResult, StepTask
from everloop.pipelines.fan_out import Call, FanOut
from everloop.pipelines.graph import Graph, Node, Output, trace
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
        self,
        store: Store,
        artifacts: ArtifactStore,
        executor: Executor,
        root: Path,
        clock: Callable[[], float],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`root` is the project's folder, whose modules the cache follows; `clock` gives the event time of rows.

        `pause` waits so many seconds before a step is tried again.
        """
        self._store, self._artifacts, self._executor = store, artifacts, executor
        self._root, self._clock, self._pause = root, clock, pause

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
        constants = Constants(self._artifacts)
        calls = [Call(node, *constants.of_node(node)) for node in graph.order()]
        parameters = constants.of_run(pipeline, pipeline.bind(dict(arguments)))
        id = run_id or new_id(self._clock())
        why = {"event": event, "decision": decision, "commit": commit}
        before = self._start({"id": id, "pipeline": pipeline.name, "parameters": parameters, **why})
        cache = Cache(self._store, self._artifacts, self._root)
        attempt = _Attempt(id, before == "finished", cache, FanOut(self._artifacts, constants))
        if before is not None:
            with self._store.read() as connection:
                attempt.kept = records.finished_in_run(connection, id)
        self._work_off(calls, attempt, on_progress or (lambda _: None))
        if before != "finished":
            with self._store.begin() as connection:
                records.finish_run(connection, id, self._clock())
        return self._finished(graph, attempt)

    def _start(self, row: Mapping[str, Any]) -> str | None:
        """Store the run's row; returns the status of an earlier attempt at it."""
        with self._store.begin() as connection:
            return records.start_run(connection, {**row, "started": self._clock()})

    def _work_off(self, calls: list[Call], attempt: _Attempt, on_progress: Callable[[Progress], None]) -> None:
        """Bring every node to its outputs: each as soon as what it needs is there and the executor has room."""
        waiting, running = deque(calls), list[_Running]()
        place = {call.node.name: index for index, call in enumerate(calls, 1)}

        def done(call: Call, execution: Execution) -> None:
            attempt.made[call.node.name] = execution
            on_progress(Progress(call.node.name, execution.status, place[call.family], len(calls)))

        while waiting or running:
            for _ in range(len(waiting)):
                if len(running) >= self._executor.slots:
                    break
                call = waiting.popleft()
                if not attempt.ready(call):
                    waiting.append(call)
                    continue
                if call.node.each and call.node.name not in attempt.members:
                    members = self._spread(call, attempt)
                    attempt.members[call.node.name] = [member.node.name for member in members]
                    waiting.extendleft([call, *members[::-1]])
                    continue
                on_progress(Progress(call.node.name, "running", place[call.family], len(calls)))
                begun = self._gather(call, attempt) if call.node.each else self._begin(call, attempt)
                if isinstance(begun, Execution):
                    done(call, begun)
                else:
                    running.append(begun)
            for one in _next_of(running):
                running.remove(one)
                if isinstance(came := self._settle(one, attempt, running), Execution):
                    done(one.call, came)
                else:
                    running.append(came)

    def _spread(self, call: Call, attempt: _Attempt) -> list[Call]:
        """Return the calls for the elements of a node that is mapped; a list that is none fails the run."""
        try:
            return attempt.fan_out.spread(call, attempt.outputs(call.node))
        except UsageError as error:
            key = Key("", {})
            with self._store.begin() as connection:
                id = records.start_step(connection, attempt.run, call.node.name, key.hash, {}, {}, self._clock())
                records.fail_step(connection, attempt.run, id, str(error), "", self._clock())
            raise StepError(call.node.name, str(error), attempt.run) from error

    def _gather(self, call: Call, attempt: _Attempt) -> Execution:
        """Make the lists of what the members of a node gave, or keep those of an earlier attempt."""
        members = [attempt.made[name] for name in attempt.members[call.node.name]]
        key = attempt.cache.gathered(call.node.step, [member.key for member in members])
        kept = attempt.kept.get(call.node.name)
        if (
            kept
            and (kept.key == key.hash or attempt.finished)
            and complete(kept.outputs, call.node.step, self._artifacts)
        ):
            return Execution(kept.id, call.node.name, kept.key, "kept", kept.outputs)
        names = call.node.step.outputs
        inputs = {f"{name}[{i}]": member.outputs[name] for name in names for i, member in enumerate(members)}
        outputs = {name: self._artifacts.put_list([member.outputs[name] for member in members]) for name in names}
        with self._store.begin() as connection:
            id = records.start_step(connection, attempt.run, call.node.name, key.hash, key.parts, inputs, self._clock())
            records.finish_step(connection, id, outputs, self._clock())
        return Execution(id, call.node.name, key.hash, "ran", outputs)

    def _begin(self, call: Call, attempt: _Attempt) -> Execution | _Running:
        """Return what is kept or cached of a step, else begin it."""
        inputs = call.stored | attempt.outputs(call.node)
        task = StepTask(call.node.name, call.node.step, call.parameters, inputs)
        key = attempt.cache.key(task)
        kept = attempt.kept.get(task.name)
        if kept and (kept.key == key.hash or attempt.finished) and complete(kept.outputs, task.step, self._artifacts):
            return Execution(kept.id, task.name, kept.key, "kept", kept.outputs)
        if found := attempt.cache.find(task.step, key):
            with self._store.begin() as connection:
                id = records.take_over(connection, attempt.run, task.name, found, key.parts, task.inputs, self._clock())
            return Execution(id, task.name, key.hash, "cached", found.outputs)
        return self._submit(call, task, attempt.run, key)

    def _submit(self, call: Call, task: StepTask, run: str, key: Key, tries: int = 1) -> _Running:
        with self._store.begin() as connection:
            id = records.start_step(connection, run, task.name, key.hash, key.parts, task.inputs, self._clock())
        return _Running(call, task, key, id, self._executor.submit(task), tries)

    def _settle(self, one: _Running, attempt: _Attempt, others: list[_Running]) -> Execution | _Running:
        """Store what a step came to; one that failed is begun again, or ends the run once the others are done."""
        if error := one.future.exception():
            again = one.tries <= one.task.step.retries and not isinstance(error, UsageError | CheckError)
            reason = (
                str(error) if isinstance(error, EverloopError | RemoteError) else f"{type(error).__name__}: {error}"
            )
            log = "".join("".join(traceback.format_exception(error)).splitlines(keepends=True)[-_LOG_LINES:])
            with self._store.begin() as connection:
                records.fail_step(connection, attempt.run, one.id, reason, log, self._clock(), again=again)
            if again:
                self._pause(one.task.step.backoff * 2 ** (one.tries - 1))
                return self._submit(one.call, one.task, attempt.run, one.key, one.tries + 1)
            self._finish_others(others)
            raise StepError(one.task.name, reason, attempt.run) from error
        return self._finish(one)

    def _finish(self, one: _Running) -> Execution:
        outputs = dict(one.future.result().outputs)
        with self._store.begin() as connection:
            records.finish_step(connection, one.id, outputs, self._clock())
        return Execution(one.id, one.task.name, one.key.hash, "ran", outputs)

    def _finish_others(self, others: list[_Running]) -> None:
        """Keep what steps that ran beside a failed one give: the next attempt goes on from there."""
        for other in others:
            if other.future.exception() is None:
                self._finish(other)

    def _finished(self, graph: Graph, attempt: _Attempt) -> Run:
        nodes = {node.name: node for node in graph.nodes}
        values, artifacts = {}, {}
        for name, value in graph.outputs.items():
            if isinstance(value, Output):
                artifacts[name] = attempt.made[value.node].outputs[value.name]
                value = self._artifacts.get(artifacts[name], nodes[value.node].outputs[value.name])
            values[name] = value
        return Run(attempt.run, values, artifacts, list(attempt.made.values()))


def _next_of(running: list[_Running]) -> list[_Running]:
    """Return those that are done, once there is one."""
    if running:
        wait([one.future for one in running], return_when=FIRST_COMPLETED)
    return [one for one in running if one.future.done()]


class _Running(NamedTuple):
    """A step under way: its execution's id, and the how-manieth try it is."""

    call: Call
    task: StepTask
    key: Key
    id: int
    future: Future[StepResult]
    tries: int


class _Attempt:
    """What one call of `Engine.run` knows: what an earlier attempt finished, and what is made so far."""

    def __init__(self, run: str, finished: bool, cache: Cache, fan_out: FanOut) -> None:
        self.run, self.finished, self.cache, self.fan_out = run, finished, cache, fan_out
        self.kept: dict[str, Finished] = {}
        self.made: dict[str, Execution] = {}
        self.members: dict[str, list[str]] = {}
        """By mapped node: the names of its calls."""

    def ready(self, call: Call) -> bool:
        """Tell whether all that a call needs is made."""
        needed = self.members.get(call.node.name) or [source.node for source in call.node.sources.values()]
        return all(name in self.made for name in needed)

    def outputs(self, node: Node) -> dict[str, Artifact]:
        """Return, by parameter, what other nodes made for a node."""
        return {name: self.made[source.node].outputs[source.name] for name, source in node.sources.items()}
