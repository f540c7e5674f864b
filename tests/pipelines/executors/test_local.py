from __future__ import annotations

import pytest

from everloop.pipelines import ArtifactStore, LocalExecutor, step
from everloop.pipelines.executors import Executor, StepTask


@step
def add(left: int, right: dict[str, int]) -> int:
    return left + right["value"]


def test_a_task_gives_stored_outputs(artifacts: ArtifactStore) -> None:
    executor: Executor = LocalExecutor(artifacts)
    task = StepTask("add", add, {"left": b"2"}, {"right": artifacts.put({"value": 3})})
    result = executor.submit(task).result()
    assert artifacts.get(result.outputs["return"]) == 5


def test_the_future_carries_the_step_s_own_error(artifacts: ArtifactStore) -> None:
    task = StepTask("add", add, {"left": b"2", "right": b"{}"})
    error = LocalExecutor(artifacts).submit(task).exception()
    assert isinstance(error, KeyError)


def test_an_interrupt_is_no_failed_step(artifacts: ArtifactStore) -> None:
    @step
    def interrupted() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalExecutor(artifacts).submit(StepTask("interrupted", interrupted))
