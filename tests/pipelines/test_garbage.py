"""Garbage: what is old or too much goes, what a kept run needs stays, and what is gone is computed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from everloop.pipelines import ArtifactStore, Engine, pipeline, step
from everloop.pipelines.executors.local import LocalExecutor
from everloop.pipelines.garbage import unused
from everloop.store import Store

At = Callable[[float, str], None]


@step
def shout(word: str) -> str:
    return word.upper() * 1000


@step
def folder(text: str) -> Path:
    place = Path.cwd() / "made"
    place.mkdir(exist_ok=True)
    (place / "text").write_text(text)
    return place


@pipeline
def shouting(word: str) -> Path:
    return folder(shout(word))


@pytest.fixture
def at(store: Store, artifacts: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> At:
    monkeypatch.chdir(tmp_path)

    def run(time: float, word: str) -> None:
        engine = Engine(store, artifacts, LocalExecutor(artifacts), tmp_path, lambda: time)
        engine.run(shouting, {"word": word}, run_id=f"run-{word}")

    return run


def test_what_is_old_goes_and_what_a_kept_run_needs_stays(at: At, store: Store, artifacts: ArtifactStore) -> None:
    at(1.0, "a")
    at(2.0, "bb")
    at(9.0, "ccc")
    assert len(unused(store, artifacts, (), 0.5)) == 0
    assert {a.size for a in unused(store, artifacts, (), 1.5)} == {1000, 1002}
    assert {a.size for a in unused(store, artifacts, ("run-a",), 5.0)} == {2000, 2002}
    gone = unused(store, artifacts, (), 5.0)
    for artifact in gone:
        artifacts.remove(artifact)
    assert len(gone) == 4
    assert unused(store, artifacts, (), 5.0) == []
    at(10.0, "ccc")  # its own are there
    engine = Engine(store, artifacts, LocalExecutor(artifacts), Path.cwd(), lambda: 11.0)
    again = engine.run(shouting, {"word": "a"}, run_id="again")
    assert [e.status for e in again.executions] == ["ran", "ran"]
    assert (again.value / "text").read_text() == "A" * 1000


def test_more_goes_until_the_size_is_right_the_longest_unused_first(
    at: At, store: Store, artifacts: ArtifactStore
) -> None:
    for time, word in enumerate("abc", 1):
        at(float(time), word)
    total = sum(a.size for a in unused(store, artifacts, (), 99.0))
    gone = unused(store, artifacts, (), 0.0, most=total - 1)
    assert len(gone) == 1
    assert gone[0] in unused(store, artifacts, (), 1.5)
    assert len(unused(store, artifacts, (), 0.0, most=0)) == len(unused(store, artifacts, (), 99.0)) == 6
    assert unused(store, artifacts, ("run-a", "run-b", "run-c"), 99.0, most=0) == []


def test_an_artifact_that_is_used_again_is_not_old(
    at: At, store: Store, artifacts: ArtifactStore, tmp_path: Path
) -> None:
    at(1.0, "a")
    Engine(store, artifacts, LocalExecutor(artifacts), tmp_path, lambda: 50.0).run(
        shouting, {"word": "a"}, run_id="later"
    )
    assert unused(store, artifacts, (), 20.0) == []
