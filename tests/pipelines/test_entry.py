"""The entry point of a node: in its order it gives what the engine's own loop gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.pipelines.compilers.test_kubeflow import failing
from tests.pipelines.entry_project import everything

from everloop import store as tables
from everloop.errors import StepError, UsageError
from everloop.pipelines import ArtifactStore, Engine, entry
from everloop.store import Store

PIPELINE = "tests.pipelines.entry_project:everything"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "everloop.toml").write_text(
        '[project]\nname = "p"\n[data]\ntarget = "t"\n[training]\nmodel = "m:f"\n'
        '[storage]\nstore = "sqlite:///store.db"\nartifacts = "artifacts"\n'
    )
    (tmp_path / "hello.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.fixture
def call(project: Path, artifacts: ArtifactStore) -> object:
    def node(count: int, *nodes: str, run: str = "r1", options: tuple[str, ...] = ()) -> int:
        given = entry.arguments_as_text(everything, {"count": count, "greeting": project / "hello.txt"}, artifacts)
        texts = [f"--argument={name}={text}" for name, text in given.items()]
        named = [f"--node={name}" for name in nodes]
        return entry.main([f"--project={project}", "--pipeline", PIPELINE, "--run", run, *texts, *named, *options])

    return node


def test_node_by_node_as_in_one_go(call, engine: Engine, artifacts: ArtifactStore, project: Path) -> None:  # type: ignore[no-untyped-def]
    for count, expected in ((3, "hello 5 None"), (4, "hello 14 7")):
        run = f"run-{count}"
        assert call(count, "numbers", run=run) == 0
        assert call(count, "square", run=run, options=("--elements", "out/elements.json")) == 0
        elements = json.loads((project / "out" / "elements.json").read_text())
        assert elements == list(range(count))
        for element in reversed(elements):
            assert call(count, "square", run=run, options=("--element", str(element))) == 0
        assert call(count, "square", "add", "is_even", run=run) == 0
        assert call(count, "halve", run=run, options=("--decide", "out/decided")) == 0
        wanted = (project / "out" / "decided").read_text()
        assert wanted == ("true" if count == 4 else "false")
        assert call(count, "halve", "tell", run=run, options=("--finish", "--out", "out/made.json")) == 0
        made = json.loads((project / "out" / "made.json").read_text())["tell"]["return"]
        given = {"count": count, "greeting": artifacts.put(project / "hello.txt")}
        found = engine.outcome(everything, given, run_id=run)
        assert (found.value, found.artifacts["return"].id) == (expected, made["id"])
        other = engine.run(everything, given, run_id=f"other-{count}")
        assert other.value == expected
        assert {execution.status for execution in other.executions} <= {"cached", "ran", "skipped"}
        ran = {execution.step for execution in other.executions if execution.status == "ran"}
        assert ran == {"square"}  # the list of the elements is made, not computed


def test_a_node_whose_needs_are_not_there_is_refused(call, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    assert call(3, "add") == 2
    assert "step 'add' needs 'square', which run r1 has not finished" in capsys.readouterr().err
    assert call(3, "squares") == 2
    assert "square" in capsys.readouterr().err
    assert entry.main(["--pipeline", "no.such:thing", "--run", "r", "--node", "a"]) == 2
    assert "the pipeline 'no.such:thing' cannot be imported" in capsys.readouterr().err
    assert entry.main(["--pipeline", PIPELINE, "--run", "r", "--node", "add", "--argument", "count"]) == 2
    assert "--argument 'count': write NAME=JSON" in capsys.readouterr().err
    assert entry.main(["--pipeline", PIPELINE, "--run", "r", "--node", "add", '--argument=count="three"']) == 2
    assert "--argument count: Expected `int`, got `str`" in capsys.readouterr().err


def test_an_unfinished_run_has_no_outcome(call, engine: Engine, store: Store) -> None:  # type: ignore[no-untyped-def]
    assert call(3, "numbers") == 0
    with store.read() as connection:
        assert connection.execute(sa.select(tables.run.c.status)).scalars().all() == ["running"]
    with pytest.raises(UsageError, match="run r1 of pipeline 'everything' is not finished"):
        engine.outcome(everything, {"count": 3, "greeting": Path("hello.txt")}, run_id="r1")


def test_a_failure_is_found_whatever_began_since(engine: Engine, store: Store) -> None:
    with pytest.raises(StepError):
        engine.run(failing, {"number": 3}, run_id="r1")
    with store.begin() as connection:  # another pod has begun since
        connection.execute(tables.run.update().values(status="running", error=None))
    with pytest.raises(StepError, match=r"step 'fails' failed: .*4 is wrong"):
        engine.raise_failure("r1")
    engine.raise_failure("another")  # nothing failed
