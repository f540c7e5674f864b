from __future__ import annotations

import pytest

from everloop.errors import NotFoundError
from everloop.pipelines import Engine, Made, downstream, pipeline, step, upstream
from everloop.store import Store


@step
def read(text: bytes) -> list[int]:
    return [int(part) for part in text.split()]


@step
def total(numbers: list[int]) -> int:
    return sum(numbers)


@step
def largest(numbers: list[int]) -> str:
    return f"at most {max(numbers)}"


@step
def report(sum: int, top: str) -> str:
    return f"{sum} {top}"


@pipeline
def reporting(text: bytes) -> str:
    numbers = read(text)
    return report(total(numbers), largest(numbers))


def test_what_went_into_an_artifact_and_what_was_made_of_it(engine: Engine, store: Store) -> None:
    run = engine.run(reporting, {"text": b"1 2"}, run_id="run-1")
    engine.run(reporting, {"text": b"1 2"}, run_id="run-2")  # taken over: made nothing
    engine.run(reporting, {"text": b"9 9"}, run_id="run-3")  # of another text: stays out
    ids = {e.step: e.outputs["return"].id for e in run.executions}
    up = upstream(store, run.artifacts["return"].id)
    assert up[0] == Made(ids["report"], 4, "report", "run-1")
    assert [(m.step, m.run) for m in up[1:]] == [
        ("total", "run-1"), ("largest", "run-1"), ("read", "run-1"), (None, None),
    ]  # fmt: skip
    text = up[-1].artifact
    assert [m.step for m in downstream(store, text)] == [None, "read", "total", "largest", "report"]


def test_an_artifact_that_two_runs_made_names_both(engine: Engine, store: Store) -> None:
    for text in (b"1 2", b"1  2"):
        run = engine.run(reporting, {"text": text})
    makers = [m for m in upstream(store, run.executions[1].outputs["return"].id) if m.step == "read"]
    assert len(makers) == 2


def test_an_unknown_artifact_gets_the_close_match(engine: Engine, store: Store) -> None:
    known = engine.run(reporting, {"text": b"1"}).artifacts["return"].id
    with pytest.raises(NotFoundError, match=f"did you mean '{known}'"):
        upstream(store, known[:-1])
    with pytest.raises(NotFoundError, match="no artifact 'nothing'"):
        downstream(store, "nothing")
