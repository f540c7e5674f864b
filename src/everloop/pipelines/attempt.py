"""One attempt at a run: brings nodes to their outputs, from what is kept, from the cache, or by running them."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Literal, NamedTuple

import msgspec

from everloop.errors import CheckError, EverloopError, StepError, UsageError
from everloop.pipelines import records
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.cache import Cache, Key, complete
from everloop.pipelines.executors import Executor, RemoteError, StepResult, StepTask
from everloop.pipelines.fan_out import Call, FanOut
from everloop.pipelines.graph import Node, Output
from everloop.pipelines.records import Finished
from everloop.store import Store

__all__ = ["Attempt", "Execution", "Progress"]

_LOG_LINES = 60


class Execution(msgspec.Struct, frozen=True):
    """What became of one step: it `ran`, was `cached` by another run or `kept` from this run's earlier attempt.

    One that its condition kept from running was `skipped`.
    """

    id: int
    step: str
    key: str
    status: Literal["ran", "cached", "kept", "skipped"]
    outputs: dict[str, Artifact]


class Progress(msgspec.Struct, frozen=True):
    """A step has started (`running`) or is there (its execution's status): the `index`th of `total`, from 1."""

    step: str
    status: Literal["running", "ran", "cached", "kept", "skipped"]
    index: int
    total: int


class _Running(NamedTuple):
    """A step under way: its execution's id, and the how-manieth try it is."""

    call: Call
    task: StepTask
    key: Key
    id: int
    future: Future[StepResult]
    tries: int


class Attempt:
    """Works off calls of one run; `made` holds the executions so far by node."""

    def __init__(
        self,
        run: str,
        store: Store,
        artifacts: ArtifactStore,
        executor: Executor,
        cache: Cache,
        fan_out: FanOut,
        clock: Callable[[], float],
        pause: Callable[[float], None],
    ) -> None:
        self._run, self._store, self._artifacts, self._executor = run, store, artifacts, executor
        self._cache, self._fan_out, self._clock, self._pause = cache, fan_out, clock, pause
        self.made: dict[str, Execution] = {}
        self.kept: dict[str, Finished] = {}
        """What an earlier attempt finished."""
        self.finished = False
        """Whether the run is: then what is kept counts even where the code has changed since."""
        self._members: dict[str, list[str]] = {}
        """By mapped node: the names of its calls."""

    def work_off(self, calls: Sequence[Call], on_progress: Callable[[Progress], None]) -> None:
        """Bring every node to its outputs: each as soon as what it needs is there and the executor has room."""
        waiting, running = deque(calls), list[_Running]()
        place = {call.node.name: index for index, call in enumerate(calls, 1)}

        def done(call: Call, execution: Execution) -> None:
            self.made[call.node.name] = execution
            on_progress(Progress(call.node.name, execution.status, place[call.family], len(calls)))

        while waiting or running:
            for _ in range(len(waiting)):
                if len(running) >= self._executor.slots:
                    break
                call = waiting.popleft()
                if not self._ready(call) or not self._fits(call, running):
                    waiting.append(call)
                    continue
                if not self.wanted(call.node):
                    done(call, self._skip(call))
                    continue
                if call.node.each and call.node.name not in self._members:
                    members = self.spread(call)
                    self._members[call.node.name] = [member.node.name for member in members]
                    waiting.extendleft([call, *members[::-1]])
                    continue
                on_progress(Progress(call.node.name, "running", place[call.family], len(calls)))
                begun = self._gather(call) if call.node.each else self._begin(call)
                if isinstance(begun, Execution):
                    done(call, begun)
                else:
                    running.append(begun)
            for one in _next_of(running):
                running.remove(one)
                if isinstance(came := self._settle(one, running), Execution):
                    done(one.call, came)
                else:
                    running.append(came)

    def wanted(self, node: Node) -> bool:
        """Tell whether a node's condition lets it run."""
        if not isinstance(node.condition, Output):
            return bool(node.condition)
        source = node.condition
        value = self._artifacts.get(self.made[source.node].outputs[source.name])
        if not isinstance(value, bool | None):
            told = f"its condition, the result of step {source.node!r}, is a {type(value).__name__}, and no bool"
            raise self._failed_before(node, told)
        return bool(value)

    def spread(self, call: Call) -> list[Call]:
        """Return the calls for the elements of a node that is mapped; a list that is none fails the run."""
        try:
            return self._fan_out.spread(call, self._outputs(call.node))
        except UsageError as error:
            raise self._failed_before(call.node, str(error)) from error

    def _ready(self, call: Call) -> bool:
        """Tell whether all that a call needs is made."""
        return all(name in self.made for name in self._members.get(call.node.name) or call.node.needs)

    def _fits(self, call: Call, running: Sequence[_Running]) -> bool:
        return not running or self._executor.fits(call.node.step, [one.task.step for one in running])

    def _outputs(self, node: Node) -> dict[str, Artifact]:
        """Return, by parameter, what other nodes made for a node."""
        return {name: self.made[source.node].outputs[source.name] for name, source in node.sources.items()}

    def _failed_before(self, node: Node, told: str) -> StepError:
        """Store that a node failed before anything of it could run."""
        with self._store.begin() as connection:
            id = records.start_step(connection, self._run, node.name, "", {}, {}, self._clock())
            records.fail_step(connection, self._run, id, told, "", self._clock())
        return StepError(node.name, told, self._run)

    def _skip(self, call: Call) -> Execution:
        """Store that a node was not to run: each of its outputs is None."""
        node, key = call.node, self._cache.skipped(call.node.step)
        nothing = self._artifacts.put(None)
        return self._store_made(node, key, {}, lambda: dict.fromkeys(node.outputs, nothing), "skipped")

    def _gather(self, call: Call) -> Execution:
        """Make the lists of what the members of a node gave, or keep those of an earlier attempt."""
        members = [self.made[name] for name in self._members[call.node.name]]
        key = self._cache.gathered(call.node.step, [member.key for member in members])
        names = call.node.step.outputs
        inputs = {f"{name}[{i}]": member.outputs[name] for name in names for i, member in enumerate(members)}

        def lists() -> dict[str, Artifact]:
            return {name: self._artifacts.put_list([member.outputs[name] for member in members]) for name in names}

        return self._store_made(call.node, key, inputs, lists, "ran")

    def _store_made(
        self,
        node: Node,
        key: Key,
        inputs: Mapping[str, Artifact],
        make: Callable[[], dict[str, Artifact]],
        status: Literal["ran", "skipped"],
    ) -> Execution:
        """Store an execution that no process has to run, unless an earlier attempt has."""
        if kept := self._still(node, key):
            return kept
        outputs = make()
        with self._store.begin() as connection:
            id = records.start_step(connection, self._run, node.name, key.hash, key.parts, inputs, self._clock())
            records.finish_step(connection, id, outputs, self._clock())
        return Execution(id, node.name, key.hash, status, outputs)

    def _still(self, node: Node, key: Key) -> Execution | None:
        """Return what an earlier attempt made of a node, where it is what would be made now."""
        kept = self.kept.get(node.name)
        if kept and (kept.key == key.hash or self.finished) and complete(kept.outputs, node.step, self._artifacts):
            return Execution(kept.id, node.name, kept.key, "kept", kept.outputs)
        return None

    def _begin(self, call: Call) -> Execution | _Running:
        """Return what is kept or cached of a step, else begin it."""
        inputs = call.stored | self._outputs(call.node)
        task = StepTask(call.node.name, call.node.step, call.parameters, inputs, self._cache.root)
        try:
            key = self._cache.key(task)
        except UsageError as error:  # what it reads outside cannot be read
            raise self._failed_before(call.node, str(error)) from error
        if kept := self._still(call.node, key):
            return kept
        if found := self._cache.find(task.step, key):
            with self._store.begin() as connection:
                id = records.take_over(
                    connection, self._run, task.name, found, key.parts, task.inputs, self._clock()
                )  # fmt: skip
            return Execution(id, task.name, key.hash, "cached", found.outputs)
        return self._submit(call, task, key)

    def _submit(self, call: Call, task: StepTask, key: Key, tries: int = 1) -> _Running:
        with self._store.begin() as connection:
            id = records.start_step(connection, self._run, task.name, key.hash, key.parts, task.inputs, self._clock())
        return _Running(call, task, key, id, self._executor.submit(task), tries)

    def _settle(self, one: _Running, others: list[_Running]) -> Execution | _Running:
        """Store what a step came to; one that failed is begun again, or ends the run once the others are done."""
        if error := one.future.exception():
            again = one.tries <= one.task.step.retries and not isinstance(error, UsageError | CheckError)
            reason = (
                str(error) if isinstance(error, EverloopError | RemoteError) else f"{type(error).__name__}: {error}"
            )
            log = "".join("".join(traceback.format_exception(error)).splitlines(keepends=True)[-_LOG_LINES:])
            with self._store.begin() as connection:
                records.fail_step(connection, self._run, one.id, reason, log, self._clock(), again=again)
            if again:
                self._pause(one.task.step.backoff * 2 ** (one.tries - 1))
                return self._submit(one.call, one.task, one.key, one.tries + 1)
            self._finish_others(others)
            raise StepError(one.task.name, reason, self._run) from error
        return self._finish(one)

    def _finish(self, one: _Running) -> Execution:
        result = one.future.result()
        outputs = dict(result.outputs)
        with self._store.begin() as connection:
            records.finish_step(connection, one.id, outputs, self._clock(), result.usage)
        return Execution(one.id, one.task.name, one.key.hash, "ran", outputs)

    def _finish_others(self, others: list[_Running]) -> None:
        """Keep what steps that ran beside a failed one give: the next attempt goes on from there."""
        for other in others:
            if other.future.exception() is None:
                self._finish(other)


def _next_of(running: list[_Running]) -> list[_Running]:
    """Return those that are done, once there is one."""
    if running:
        wait([one.future for one in running], return_when=FIRST_COMPLETED)
    return [one for one in running if one.future.done()]
