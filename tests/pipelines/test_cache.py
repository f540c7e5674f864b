"""Cache hits and misses; where code is edited, each run is a process of its own, as on a user's machine."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import sqlalchemy as sa

from everloop import store as tables
from everloop.pipelines import ArtifactStore, Engine, pipeline, step
from everloop.store import Store


@step
def grow(size: int, most: int = 100) -> list[int]:
    return list(range(min(size, most)))


@step
def total(numbers: list[int]) -> int:
    return sum(numbers)


@step(cache=False)
def look(size: int) -> list[int]:
    return list(range(size))


@pipeline
def cached(size: int, most: int = 100) -> int:
    return total(grow(size, most))


@pipeline
def looking(size: int) -> int:
    return total(look(size))


def statuses(engine: Engine, size: int, most: int = 100) -> list[str]:
    return [execution.status for execution in engine.run(cached, {"size": size, "most": most}).executions]


def test_the_same_call_is_taken_over(engine: Engine) -> None:
    assert statuses(engine, 3) == ["ran", "ran"]
    assert statuses(engine, 3) == ["cached", "cached"]


def test_another_parameter_runs_again_and_the_same_content_is_a_hit_downstream(engine: Engine) -> None:
    assert statuses(engine, 3) == ["ran", "ran"]
    assert statuses(engine, 4) == ["ran", "ran"]
    assert statuses(engine, 3, most=50) == ["ran", "cached"]


def test_a_step_that_looks_outside_always_runs(engine: Engine) -> None:
    for expected in (["ran", "ran"], ["ran", "cached"]):
        assert [e.status for e in engine.run(looking, {"size": 2}).executions] == expected


def test_the_row_says_what_it_was_taken_from(engine: Engine, store: Store) -> None:
    first, second = (engine.run(cached, {"size": 3}) for _ in range(2))
    rows = {row["id"]: row for row in store.rows(sa.select(tables.execution))}
    for made, taken in zip(first.executions, second.executions, strict=True):
        assert rows[taken.id]["cached_from"] == made.id
        assert rows[taken.id]["key"] == rows[made.id]["key"]
        assert rows[taken.id]["status"] == "finished"


def test_the_key_is_stored_in_its_parts(engine: Engine, store: Store) -> None:
    run = engine.run(cached, {"size": 3})
    grown, summed = (
        row["key_parts"] for row in store.rows(sa.select(tables.execution).order_by(tables.execution.c.id))
    )
    assert grown.keys() == {"step", "code", "parameters", "environment", "inputs"}
    assert grown["step"] == f"{__name__}:grow"
    assert grown["parameters"] == {"size": 3, "most": 100}
    assert __name__ in grown["code"]
    assert not any(name.startswith("everloop") for name in grown["code"])  # its version counts
    assert {"python", "everloop", "sqlalchemy"} <= grown["environment"].keys()
    assert summed["inputs"] == {"numbers": run.executions[0].outputs["return"].id}


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_damaged_artifact_is_no_hit(damage: str, engine: Engine, artifacts: ArtifactStore) -> None:
    run = engine.run(cached, {"size": 3})
    path = Path(artifacts.url, run.executions[0].outputs["return"].uri)
    path.write_bytes(b"[9]") if damage == "change" else path.unlink()
    assert statuses(engine, 3) == ["ran", "cached"]
    assert path.read_bytes() == b"[0,1,2]"


RUN = """
import json, sys
from pathlib import Path
from everloop.pipelines import ArtifactStore, Engine, LocalExecutor
from everloop.store import Store
from work.steps import retrain
root = Path.cwd()
artifacts = ArtifactStore("artifacts", root)
engine = Engine(Store("sqlite:///store.db", root), artifacts, LocalExecutor(artifacts), root, clock=lambda: 1.0)
run = engine.run(retrain, {"size": 3})
print(json.dumps({"value": run.value, "status": {e.step: e.status for e in run.executions}}))
"""
FILES = {
    "__init__.py": "",
    "steps.py": """
        from everloop.pipelines import pipeline, step
        from work.fitting import fit
        from work.reading import read

        @pipeline
        def retrain(size: int) -> int:
            return fit(read(size))
        """,
    "reading.py": """
        from everloop.pipelines import step

        @step
        def read(size: int) -> list[int]:
            return list(range(size))
        """,
    "fitting.py": """
        from everloop.pipelines import step
        from work import near

        @step
        def fit(rows: list[int]) -> int:
            return near.adjust(sum(rows))
        """,
    "near.py": """
        def adjust(x):
            from .far import factor
            return x * factor()
        """,
    "far.py": """
        def factor():
            return 2
        """,
}


def test_an_edit_two_imports_away_is_a_miss_and_a_comment_is_none(tmp_path: Path) -> None:
    package = tmp_path / "work"
    package.mkdir()
    for name, text in FILES.items():
        (package / name).write_text(textwrap.dedent(text))

    def run() -> tuple[int, dict[str, str]]:
        command = [sys.executable, "-c", RUN]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return answer["value"], answer["status"]

    def edit(name: str, before: str, after: str) -> None:
        text = (package / name).read_text()
        assert before in text
        (package / name).write_text(text.replace(before, after))

    assert run() == (6, {"read": "ran", "fit": "ran"})
    edit("far.py", "def factor():\n", 'def factor():\n    """Doubles."""\n    # twice\n')
    assert run() == (6, {"read": "cached", "fit": "cached"})
    edit("far.py", "return 2", "return 3")
    assert run() == (9, {"read": "cached", "fit": "ran"})
