"""A step once more: with the inputs it had, also those of a failure, by the code of today."""

from __future__ import annotations

import pytest

from everloop.errors import NotFoundError, StepError, UsageError
from everloop.pipelines import ArtifactStore, Engine, each, pipeline, repeat_step, step
from everloop.pipelines.repeating import _step_of
from everloop.store import Store

BROKEN = True


@step
def words(text: str) -> list[str]:
    return text.split()


@step
def longest(words: list[str], least: int) -> str:
    if BROKEN and len(words) > 2:
        raise ValueError("too many")
    return max((word for word in words if len(word) >= least), key=len)


@step
def shout(word: str) -> str:
    return word.upper()


@pipeline
def looking(text: str) -> str:
    return longest(words(text), 2)


@pipeline
def shouting(text: str) -> list[str]:
    return shout.map(each(words(text)))


def test_the_newest_execution_is_repeated(engine: Engine, store: Store, artifacts: ArtifactStore) -> None:
    engine.run(looking, {"text": "a bcd"}, run_id="one")
    engine.run(looking, {"text": "a efgh"}, run_id="two")
    found = repeat_step(store, artifacts, "longest")
    assert (found.value, found.run, found.status) == ("efgh", "two", "finished")
    assert repeat_step(store, artifacts, "longest", "one").value == "bcd"
    engine.run(shouting, {"text": "a b"}, run_id="three")
    assert repeat_step(store, artifacts, "shout[1]").value == "B"
    with pytest.raises(UsageError, match="recorded no 'word': it has changed since, or it gathers a fan-out"):
        repeat_step(store, artifacts, "shout")


def test_a_failure_is_there_to_be_looked_at(
    engine: Engine, store: Store, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StepError, match="too many"):
        engine.run(looking, {"text": "a bcd efghi"})
    with pytest.raises(ValueError, match="too many"):
        repeat_step(store, artifacts, "longest")
    monkeypatch.setattr(f"{__name__}.BROKEN", False)
    found = repeat_step(store, artifacts, "longest")
    assert (found.value, found.status) == ("efghi", "failed")


def test_what_never_ran_or_is_gone(engine: Engine, store: Store, artifacts: ArtifactStore) -> None:
    engine.run(looking, {"text": "a bcd"}, run_id="one")
    with pytest.raises(NotFoundError, match=r"no step 'longes' \(did you mean 'longest'\?\)"):
        repeat_step(store, artifacts, "longes")
    with pytest.raises(NotFoundError, match="no step of run two 'longest'"):
        repeat_step(store, artifacts, "longest", "two")
    with pytest.raises(UsageError, match=r"was no\.such:step, which cannot be imported"):
        _step_of("no.such:step", "x")
    with pytest.raises(UsageError, match="which is a bool now"):
        _step_of(f"{__name__}:BROKEN", "x")
