"""Steps under a condition: as functions, in a run, resumed; a skipped one gives None."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from everloop.errors import StepError, UsageError
from everloop.pipelines import Engine, each, explain, pipeline, step
from everloop.store import Store


class Parts(NamedTuple):
    low: int
    high: int


@step
def is_large(number: int) -> bool:
    return number > 10


@step
def double(number: int) -> int:
    return number * 2


@step
def split(number: int) -> Parts:
    return Parts(number // 2, number - number // 2)


@step
def tell(doubled: int | None, low: int | None, halves: list[int] | None) -> str:
    return f"{doubled} {low} {halves}"


@pipeline
def choose(number: int) -> str:
    large = is_large(number)
    doubled = double.when(large)(number)
    parts = split.when(large)(number)
    halves = double.when(large).map(each([1, 2]))
    return tell(doubled, parts.low, halves)  # type: ignore[union-attr]


@pipeline
def fixed(number: int, on: bool) -> int | None:
    return double.when(on)(number)


@pipeline
def wrong(number: int) -> int | None:
    return double.when(double(number))(number)  # type: ignore[arg-type]


def test_called_and_run_they_give_the_same(engine: Engine) -> None:
    for number, told in ((20, "40 10 [2, 4]"), (3, "None None None")):
        assert choose(number) == told
        assert engine.run(choose, {"number": number}).value == told


def test_what_is_skipped_is_stored_and_said(engine: Engine, store: Store) -> None:
    run = engine.run(choose, {"number": 3}, run_id="small")
    assert [(e.step, e.status) for e in run.executions] == [
        ("is_large", "ran"), ("double", "skipped"), ("split", "skipped"), ("double-2", "skipped"), ("tell", "ran"),
    ]  # fmt: skip
    told = {found.step: found.why for found in explain(store, "small")}
    assert told["split"] == "its condition was false"
    again = engine.run(choose, {"number": 3}, run_id="small")
    assert {execution.status for execution in again.executions} == {"kept", "cached"} - {"cached"}


def test_a_constant_decides_while_it_is_traced(engine: Engine) -> None:
    assert engine.run(fixed, {"number": 2, "on": True}).value == 4
    assert engine.run(fixed, {"number": 2, "on": False}).value is None


def test_what_is_no_bool_is_refused(engine: Engine) -> None:
    with pytest.raises(StepError, match="condition, the result of step 'double', is a int, and no bool"):
        engine.run(wrong, {"number": 1})
    with pytest.raises(UsageError, match=r"double.when\(...\): a condition is True or False, not a int"):
        double.when(1)  # type: ignore[arg-type]
