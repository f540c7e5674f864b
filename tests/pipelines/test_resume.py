"""A run is killed with `kill -9` before and after each of its transactions; the same run id goes on from there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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

class MortalStore(Store):
    '''Ends its process before or after one of its transactions.'''
    count, death = 0, (0, "")
    @contextlib.contextmanager
    def begin(self):
        self.count += 1
        self.die("before")
        with super().begin() as connection:
            yield connection
        self.die("after")
    def die(self, moment):
        if self.death == (self.count, moment):
            os.kill(os.getpid(), signal.SIGKILL)

def run(place, death=(0, "")):
    place.mkdir(exist_ok=True)
    store = MortalStore("sqlite:///store.db", place)
    store.count, store.death = 0, death
    artifacts = ArtifactStore("artifacts", place)
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
count = store.count
for number in range(1, count + 1):
    for moment in ("before", "after"):
        place = root / f"{number}-{moment}"
        died, _ = in_child(lambda: run(place, (number, moment)) and None)
        _, (killed, resumed, after) = in_child(lambda: resume(place))
        log = (place / "log").read_text().split()
        print(json.dumps({"point": [number, moment], "died": died, "killed": killed, "resumed": resumed,
                          "after": after, "log": log}))
"""

STEPS = ["read", "fit", "bundle"]


def test_a_killed_run_goes_on_from_its_last_finished_step(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "kill.py").write_text(KILL)
    (tmp_path / "runs").mkdir()
    command = [sys.executable, "kill.py", "runs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    points = [json.loads(line) for line in done.stdout.splitlines()]
    print(f"killed at {len(points)} points")
    assert len(points) == 2 * (1 + 2 * len(STEPS) + 1)
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
