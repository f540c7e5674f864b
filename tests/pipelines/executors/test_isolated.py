"""Steps in processes of their own: what travels, what a crash leaves, how many run at a time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import sqlalchemy as sa
from tests.pipelines.executors import steps

from everloop import store as tables
from everloop.errors import DataError, StepError, SystemError_
from everloop.pipelines import ArtifactStore, Engine, IsolatedExecutor, Resources, Step, pipeline, step
from everloop.pipelines.executors import Executor, RemoteError, StepTask
from everloop.pipelines.formats import UnserialisableError
from everloop.store import Store

EXECUTIONS = sa.select(tables.execution).order_by(tables.execution.c.id)


@pytest.fixture
def executor(artifacts: ArtifactStore) -> Iterator[IsolatedExecutor]:
    executor = IsolatedExecutor(artifacts, slots=3)
    yield executor
    executor.close()


def test_a_task_gives_stored_outputs_of_another_process(executor: Executor, artifacts: ArtifactStore) -> None:
    values = artifacts.put({"x": np.array([1.0, 5.0, 2.0])})
    result = executor.submit(StepTask("split", steps.split, {"below": b"3.0"}, {"values": values})).result(30)
    assert artifacts.get(result.outputs["low"])["x"].tolist() == [1.0, 2.0]
    assert artifacts.get(result.outputs["process"]) != os.getpid()


def test_our_errors_travel_as_they_are_and_others_by_name(executor: Executor) -> None:
    error = executor.submit(StepTask("refuse", steps.refuse, {"reason": b'"row 3 is wrong"'})).exception(30)
    assert isinstance(error, DataError)
    assert (str(error), error.exit_code) == ("row 3 is wrong", 1)
    assert any("in refuse" in note for note in error.__notes__)
    assert "it printed:\nbefore the end" in error.__notes__
    error = executor.submit(StepTask("add", steps.add, {"left": b"2", "right": b"{}"})).exception(30)
    assert isinstance(error, RemoteError)
    assert str(error) == "KeyError: 'value'"
    error = executor.submit(StepTask("wrong", steps.wrong_result, {"_": b"1"})).exception(30)
    assert "its result is a tuple and no Parts: correct its annotation" in str(error)
    assert isinstance(error, RemoteError | UnserialisableError)


def test_a_crash_fails_its_step_alone(executor: Executor, artifacts: ArtifactStore) -> None:
    crashes = [
        executor.submit(StepTask("killed", steps.killed, {"number": f"{number:d}".encode()}))
        for number in (signal.SIGKILL, signal.SIGSEGV)
    ]
    fine = executor.submit(StepTask("add", steps.add, {"left": b"2", "right": b'{"value":3}'}))
    first, second = (crash.exception(30) for crash in crashes)
    assert str(first) == "its process was killed (SIGKILL): most likely the machine ran out of memory"
    assert str(second) == "its process crashed (SIGSEGV)"
    assert artifacts.get(fine.result(30).outputs["return"]) == 5


def test_a_step_that_takes_too_long_is_ended(executor: Executor) -> None:
    future = executor.submit(StepTask("endless", steps.endless))
    error = future.exception(30)
    _, alive = psutil.wait_procs(psutil.Process().children()[0].children(), timeout=10)
    assert not alive
    assert isinstance(error, SystemError_)
    assert str(error) == "it took longer than its timeout of 0.2 s"


def test_a_step_that_was_typed_in_runs_here(executor: Executor, artifacts: ArtifactStore) -> None:
    @step
    def here() -> int:
        return os.getpid()

    result = executor.submit(StepTask("here", here)).result(30)
    assert artifacts.get(result.outputs["return"]) == os.getpid()


def test_the_process_that_forks_is_started_again_when_it_is_gone(executor: IsolatedExecutor) -> None:
    task = StepTask("add", steps.add, {"left": b"2", "right": b'{"value":3}'})
    executor.submit(task).result(30)
    (server,) = psutil.Process().children()
    server.kill()
    server.wait(10)
    assert executor.submit(task).result(30)


def test_a_step_under_way_ends_with_the_process_that_forks(executor: IsolatedExecutor, tmp_path: Path) -> None:
    inputs = {"folder": b'"%b"' % str(tmp_path).encode(), "name": b'"a"', "others": b'["b"]'}
    future = executor.submit(StepTask("meet", steps.meet, inputs))
    while not (tmp_path / "a").exists():
        assert not future.done()
    forked = psutil.Process().children(recursive=True)
    executor.close()
    assert isinstance(future.exception(30), SystemError_)
    _, alive = psutil.wait_procs(forked, timeout=10)
    assert not alive


@pipeline
def meeting(folder: str) -> str:
    """Two steps that wait for each other."""
    first = steps.meet(folder, "a", ["b"])
    steps.meet(folder, "b", ["a"])
    return first


@pipeline
def lucky(folder: str) -> int:
    return steps.second_time_lucky(folder)


@pipeline
def two() -> int:
    steps.refuse("row 3 is wrong")
    return steps.add(1, {"value": 2})


def test_steps_that_do_not_wait_for_each_other_run_at_the_same_time(
    store: Store, artifacts: ArtifactStore, executor: Executor, tmp_path: Path
) -> None:
    folder = tmp_path / "meet"
    folder.mkdir()
    engine = Engine(store, artifacts, executor, tmp_path, clock=lambda: 1.0)
    told: list[str] = []
    value = engine.run(
        meeting, {"folder": str(folder)}, on_progress=lambda p: told.append(f"{p.step} {p.status}")
    ).value
    assert value == "a"
    assert told[:2] == ["meet running", "meet-2 running"]


def test_a_step_is_tried_again_after_twice_as_long_each_time(
    store: Store, artifacts: ArtifactStore, executor: Executor, tmp_path: Path
) -> None:
    pauses: list[float] = []
    engine = Engine(store, artifacts, executor, tmp_path, clock=lambda: 1.0, pause=pauses.append)
    folder = tmp_path / "tries"
    folder.mkdir()
    run = engine.run(lucky, {"folder": str(folder)})
    assert (run.value, pauses) == (2, [10.0, 20.0])
    rows = store.rows(EXECUTIONS)
    assert [r["status"] for r in rows] == ["failed", "failed", "finished"]
    assert "most likely the machine ran out of memory" in rows[0]["error"]


def test_what_ran_beside_a_failed_step_is_kept(
    store: Store, artifacts: ArtifactStore, executor: Executor, tmp_path: Path
) -> None:
    engine = Engine(store, artifacts, executor, tmp_path, clock=lambda: 1.0)
    with pytest.raises(StepError, match="step 'refuse' failed: row 3 is wrong; finished steps of run") as caught:
        engine.run(two, {}, run_id="r")
    assert "in refuse" in "".join(caught.value.__cause__.__notes__ if caught.value.__cause__ else [])
    assert {r["step"]: r["status"] for r in store.rows(EXECUTIONS)} == {"refuse": "failed", "add": "finished"}


def test_steps_whose_needs_exceed_the_machine_together_wait(executor: IsolatedExecutor) -> None:
    def needing(**needs: Any) -> Step[..., Any]:
        return Step(steps.place.function, resources=Resources(**needs))

    small, large = needing(), needing(cpu=2)
    assert executor.fits(large, [small])
    assert not executor.fits(large, [large])
    assert not executor.fits(needing(memory="600GB"), [needing(memory="600GB")])
