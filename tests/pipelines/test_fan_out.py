"""Fan-out: one call an element, each cached, kept and retried by itself, and the results in a list."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from everloop import store as tables
from everloop.errors import StepError, UsageError
from everloop.pipelines import ArtifactStore, Engine, IsolatedExecutor, LocalExecutor, each, pipeline, step
from everloop.store import Store


class Parts(NamedTuple):
    size: int
    table: dict[str, NDArray[np.float64]]


@step
def numbers(upto: int) -> list[int]:
    return list(range(upto))


@step
def square(number: int, plus: int) -> int:
    if number == 13:
        raise ValueError("an unlucky number")
    return number * number + plus


@step
def total(values: list[int]) -> int:
    return sum(values)


@step
def split(size: int) -> Parts:
    return Parts(size, {"x": np.arange(size, dtype=np.float64)})


@step
def mean(table: dict[str, NDArray[np.float64]], size: int) -> float:
    return float(table["x"].sum()) / size


@pipeline
def squares(upto: int, plus: int) -> int:
    return total(square.map(each(numbers(upto)), plus))


@pipeline
def of_constants(values: list[int], plus: int) -> list[int]:
    return square.map(number=each(values), plus=plus)


@pipeline
def means(sizes: list[int]) -> list[float]:
    parts = split.map(each(sizes))
    return mean.map(each(parts.table), each(parts.size))  # type: ignore[attr-defined]


@pipeline
def uneven(values: list[int]) -> list[int]:
    return square.map(each(values), each(numbers(2)))


@pipeline
def over_no_list(values: list[int]) -> list[int]:
    return square.map(each(total(values)), 1)  # type: ignore[arg-type]


Start = Callable[[], Engine]


@pytest.fixture(params=["local", "isolated"])
def start(request: pytest.FixtureRequest, store: Store, artifacts: ArtifactStore, tmp_path: Path) -> Iterator[Start]:
    executor = LocalExecutor(artifacts) if request.param == "local" else IsolatedExecutor(artifacts, 3)
    ticks = itertools.count(1)
    yield lambda: Engine(store, artifacts, executor, tmp_path, clock=lambda: float(next(ticks)))
    executor.close()


def test_each_element_is_one_call_and_the_results_are_a_list(start: Start) -> None:
    run = start().run(squares, {"upto": 5, "plus": 1})
    assert run.value == sum(n * n + 1 for n in range(5))
    assert {e.step for e in run.executions} == {"numbers", "total", "square", *(f"square[{n}]" for n in range(5))}
    assert start().run(of_constants, {"values": [3, 1, 2], "plus": 0}).value == [9, 1, 4]
    assert start().run(of_constants, {"values": [], "plus": 0}).value == []


def test_lists_of_arrays_and_of_several_outputs(start: Start) -> None:
    assert start().run(means, {"sizes": [2, 5, 11]}).value == [0.5, 2.0, 5.0]


def test_called_as_functions_they_do_the_same() -> None:
    assert of_constants([3, 1, 2], 0) == [9, 1, 4]
    assert squares(5, 1) == sum(n * n + 1 for n in range(5))
    with pytest.raises(UsageError, match="number, plus are not equally long"):
        square.map(each([1, 2]), each([1]))
    with pytest.raises(UsageError, match=r"write square\.map\(\.\.\.\)"):
        square(each([1, 2]), 1)
    with pytest.raises(UsageError, match="mark the argument that it goes over"):
        square.map(1, 1)


def test_one_more_element_computes_one_call(engine: Engine) -> None:
    engine.run(of_constants, {"values": [1, 2, 3], "plus": 0})
    again = engine.run(of_constants, {"values": [1, 2, 3, 4], "plus": 0})
    told = [(e.step, e.status) for e in again.executions]
    assert told == [*((f"square[{n}]", "cached") for n in range(3)), ("square[3]", "ran"), ("square", "ran")]


def test_a_run_goes_on_behind_the_calls_that_finished(engine: Engine) -> None:
    arguments = {"values": [1, 13, 2], "plus": 0}
    with pytest.raises(StepError, match=r"step 'square\[1\]' failed: ValueError: an unlucky number"):
        engine.run(of_constants, arguments, run_id="run-1")
    with pytest.raises(StepError):
        engine.run(of_constants, arguments, run_id="run-1")
    done = engine.run(of_constants, {"values": [1, 2], "plus": 0}, run_id="run-2")
    assert [e.status for e in done.executions] == ["cached", "ran", "ran"]
    again = engine.run(of_constants, {"values": [1, 2], "plus": 0}, run_id="run-2")
    assert (again.value, {e.status for e in again.executions}) == ([1, 4], {"kept"})


def test_what_cannot_be_gone_over_fails_the_run(engine: Engine, store: Store) -> None:
    with pytest.raises(StepError, match="its lists are not equally long: number has 3, plus has 2"):
        engine.run(uneven, {"values": [1, 2, 3]}, run_id="run-1")
    with pytest.raises(StepError, match="its parameter 'number' is to go over a list, and is a int"):
        engine.run(over_no_list, {"values": [1, 2]}, run_id="run-2")
    assert {row["status"] for row in store.rows(sa.select(tables.run))} == {"failed"}


def test_a_list_whose_element_is_damaged_is_computed_again(engine: Engine, artifacts: ArtifactStore) -> None:
    first = engine.run(of_constants, {"values": [1, 2], "plus": 5})
    artifacts.remove(first.executions[0].outputs["return"])
    again = engine.run(of_constants, {"values": [1, 2], "plus": 5})
    assert [e.status for e in again.executions] == ["ran", "cached", "ran"]
    assert again.value == [6, 9]
