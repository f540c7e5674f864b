"""A run is killed with `kill -9` wherever it could leave something half; the same run id goes on from there.

The points are enumerated by a run that lives: around each transaction and each file of an artifact.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

WORK = """
from pathlib import Path
import pandas as pd
from everloop.pipelines import pipeline, step

def note(place: str, name: str) -> None:
    with open(Path(place) / "log", "a") as log:
        log.write(name + "\\n")

@step(cache=False)
def read(place: str) -> pd.DataFrame:
    note(place, "read")
    return pd.DataFrame({"cnt": [1, 2, 3]})

@step
def fit(place: str, rides: pd.DataFrame) -> float:
    note(place, "fit")
    return float(rides["cnt"].mean())

@step
def bundle(place: str, mean: float) -> Path:
    note(place, "bundle")
    path = Path(place) / "model.txt"
    path.write_text(str(mean))
    return path

@pipeline
def retrain(place: str) -> Path:
    return bundle(place, fit(place, read(place)))
"""

KILL = """
import contextlib, json, os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from everloop import store as tables
from everloop.pipelines import ArtifactStore, Engine, LocalExecutor
from everloop.store import Store
from work import retrain

class Points:
    '''Counts what could be the last thing that a process does, and ends it there.'''
    count, death, passed = 0, 0, []
    @classmethod
    def reach(cls, name):
        cls.count += 1
        cls.passed.append(name)
        if cls.count == cls.death:
            os.kill(os.getpid(), signal.SIGKILL)

class MortalStore(Store):
    @contextlib.contextmanager
    def begin(self):
        Points.reach("before a transaction")
        with super().begin() as connection:
            yield connection
            Points.reach("before it is committed")
        Points.reach("after a transaction")

class MortalArtifacts(ArtifactStore):
    def _write(self, uri, pieces, *, read_only=False):
        Points.reach("before a file")
        super()._write(uri, pieces, read_only=read_only)
        Points.reach("after a file")

replace = Path.replace
def slow_replace(self, target):
    Points.reach("a file before it has its name")
    return replace(self, target)
Path.replace = slow_replace

def run(place, death=0):
    place.mkdir(exist_ok=True)
    store, artifacts = MortalStore("sqlite:///store.db", place), MortalArtifacts("artifacts", place)
    Points.count, Points.death, Points.passed = 0, death, []
    engine = Engine(store, artifacts, LocalExecutor(artifacts), Path.cwd(), clock=lambda: 1.0)
    made = engine.run(retrain, {"place": str(place)}, run_id="run-1")
    return store, made

def in_child(work):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, json.dumps(work()).encode())
        os._exit(0)
    os.close(write)
    with open(read) as answer:
        text = answer.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), json.loads(text or "null")

def state(place):
    store = Store("sqlite:///store.db", place)
    executions = store.rows(sa.select(tables.execution.c.step, tables.execution.c.status))
    return {
        "runs": [row["status"] for row in store.rows(sa.select(tables.run.c.status))],
        "finished": [e["step"] for e in executions if e["status"] == "finished"],
        "other": [e["status"] for e in executions if e["status"] != "finished"],
    }

def resume(place):
    killed = state(place)
    _, made = run(place)
    resumed = {"value": made.value.read_text(), "status": {e.step: e.status for e in made.executions}}
    return killed, resumed, state(place)

root = Path(sys.argv[1])
store, _ = run(root / "alive")  # also loads all that the children would load anew
store.close()
names = list(Points.passed)
for number, name in enumerate(names, 1):
    place = root / str(number)
    died, _ = in_child(lambda: run(place, number) and None)
    _, (killed, resumed, after) = in_child(lambda: resume(place))
    log = (place / "log").read_text().split()
    print(json.dumps({"point": name, "died": died, "killed": killed, "resumed": resumed, "after": after, "log": log}))
"""

STEPS = ["read", "fit", "bundle"]


def test_a_killed_run_goes_on_from_its_last_finished_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "kill.py").write_text(KILL)
    (tmp_path / "runs").mkdir()
    command = [sys.executable, "kill.py", "runs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    points = [json.loads(line) for line in done.stdout.splitlines()]
    counts = Counter(point["point"] for point in points)
    with capsys.disabled():
        print(f"\npipelines: killed at {len(points)} points: {dict(counts)}")
    assert counts["before a transaction"] == counts["after a transaction"] == 1 + 2 * len(STEPS) + 1
    assert counts["a file before it has its name"] >= len(STEPS)
    for point in points:
        _check(point)


def _check(point: dict[str, Any]) -> None:
    assert point["died"] == -9, point
    finished = point["killed"]["finished"]
    assert finished == STEPS[: len(finished)], point
    expected = {step: "kept" if step in finished else "ran" for step in STEPS}
    assert point["resumed"] == {"value": "2.0", "status": expected}, point
    for step in finished:
        assert point["log"].count(step) == 1, point
    assert all(point["log"].count(step) <= 2 for step in STEPS), point
    assert point["after"]["runs"] == ["finished"], point
    assert point["after"]["finished"] == STEPS, point
    assert "running" not in point["after"]["other"], point
