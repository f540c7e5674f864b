"""What every executor promises, wherever it runs a step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.pipelines.executors import steps

from everloop.errors import DataError, SystemError_
from everloop.pipelines import ArtifactStore, IsolatedExecutor, LocalExecutor
from everloop.pipelines.executors import Executor, RemoteError, StepTask
from everloop.pipelines.formats import UnserialisableError

PATIENCE = 120


@pytest.fixture(params=["local", "isolated", pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def executor(request: pytest.FixtureRequest, artifacts: ArtifactStore) -> Iterator[Executor]:
    made: Executor
    if request.param == "local":
        made = LocalExecutor(artifacts)
    elif request.param == "isolated":
        made = IsolatedExecutor(artifacts, slots=2)
    else:
        from everloop.pipelines.executors.ray import RayExecutor

        request.getfixturevalue("cluster")
        made = RayExecutor(artifacts, Path.cwd())
    yield made
    made.close()


def test_a_task_gives_stored_outputs(executor: Executor, artifacts: ArtifactStore) -> None:
    values = artifacts.put({"x": np.array([1.0, 5.0, 2.0])})
    result = executor.submit(StepTask("split", steps.split, {"below": b"3.0"}, {"values": values})).result(PATIENCE)
    assert artifacts.get(result.outputs["low"])["x"].tolist() == [1.0, 2.0]
    assert result.usage is not None
    assert result.usage.seconds > 0
    assert result.usage.cpu_seconds >= 0
    assert result.usage.peak_bytes > 1e6


def test_our_errors_travel_as_they_are_and_others_by_name(executor: Executor) -> None:
    error = executor.submit(StepTask("refuse", steps.refuse, {"reason": b'"row 3 is wrong"'})).exception(PATIENCE)
    assert isinstance(error, DataError)
    assert str(error) == "row 3 is wrong"
    error = executor.submit(StepTask("add", steps.add, {"left": b"2", "right": b"{}"})).exception(PATIENCE)
    assert isinstance(error, KeyError) or str(error) == "KeyError: 'value'"
    error = executor.submit(StepTask("wrong", steps.wrong_result, {"_": b"1"})).exception(PATIENCE)
    assert isinstance(error, RemoteError | UnserialisableError)
    assert "its result is a tuple and no Parts: correct its annotation" in str(error)


def test_a_step_knows_the_projects_folder(executor: Executor, artifacts: ArtifactStore, tmp_path: Path) -> None:
    result = executor.submit(StepTask("place", steps.place, {"_": b"1"}, root=tmp_path)).result(PATIENCE)
    assert artifacts.get(result.outputs["return"]) == str(tmp_path)


def test_a_crash_and_a_timeout_fail_their_step_alone(executor: Executor) -> None:
    if isinstance(executor, LocalExecutor):
        pytest.skip("its steps share this process")
    crash = executor.submit(StepTask("killed", steps.killed, {"number": f"{signal.SIGSEGV:d}".encode()}))
    late = executor.submit(StepTask("endless", steps.endless))
    assert isinstance(crash.exception(PATIENCE), SystemError_)
    error = late.exception(PATIENCE)
    assert isinstance(error, SystemError_)
    assert "took longer than its timeout of 0.2 s" in str(error)
    fine = executor.submit(StepTask("add", steps.add, {"left": b"2", "right": b'{"value":3}'}))
    assert fine.result(PATIENCE)
