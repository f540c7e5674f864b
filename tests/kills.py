"""Kills a controller with `kill -9` at one point after another of what a trigger starts, and starts it again.

The points are enumerated by a controller that lives: around each transaction, each rename of a file, and each command
of git and DVC. `python -m tests.kills FOLDER TRIGGER [EVERY]` prints one JSON line a point.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import sqlalchemy as sa
from tests.projects import history
from tests.pushes import DAY, START, TRIGGERS, Running, git, more_rows, push, pushed_project

from everloop import store as tables
from everloop.journal import Writer
from everloop.store import Connection, Store
from everloop.types import Feedback, Prediction, new_id

CHEAP = '\n[guards]\noutlier = "off"\nadversarial = "off"\n'
DRIFT = 'concept_drift = { cooldown = "1d" }'
TIMES = {
    "code": (70, 80), "repository_data": (70, 80), "storage": (70, 80),
    "schedule": (8 * DAY,), "concept_drift": (13 * DAY,),
}  # fmt: skip
"""When a controller looks, in seconds after its first model."""


class Points:
    """Counts what could be the last thing that a process does, and ends it there."""

    passed: ClassVar[list[str]] = []
    death = 0

    @classmethod
    def reach(cls, name: str) -> None:
        cls.passed.append(name)
        if len(cls.passed) == cls.death:
            os.kill(os.getpid(), signal.SIGKILL)


def make_mortal() -> None:
    """Let each transaction, rename and command be a point, in this process."""
    begin, replace, run = Store.begin, Path.replace, subprocess.run

    @contextlib.contextmanager
    def mortal_begin(self: Store) -> Iterator[Connection]:
        Points.reach("before a transaction")
        with begin(self) as connection:
            yield connection
            Points.reach("before it is committed")
        Points.reach("after a transaction")

    def mortal_replace(self: Path, target: Any) -> Path:
        Points.reach("before a rename")
        done = replace(self, target)
        Points.reach("after a rename")
        return done

    def mortal_run(command: Any, *args: Any, **how: Any) -> Any:
        if _writes(command):
            Points.reach("before a command")
        done = run(command, *args, **how)
        if _writes(command):
            Points.reach("after a command")
        return done

    Store.begin, Path.replace, subprocess.run = mortal_begin, mortal_replace, mortal_run  # type: ignore


def _writes(command: Any) -> bool:
    return bool({"fetch", "worktree", "restore", "checkout", "add", "commit", "pull", "update-ref"} & set(command))


def prepare(place: Path, trigger: str) -> None:
    """Make a project with its first model, and let happen what the trigger takes."""
    place.mkdir(parents=True)
    triggers = f"[triggers]\n{DRIFT}\n\n" if trigger == "concept_drift" else TRIGGERS
    project, author = pushed_project(place, triggers + CHEAP, days=20)
    running = Running(project)
    running.step(START)
    if trigger == "code":
        model = (author / "toy" / "model.py").read_text()
        push(author, toy__model_py=model.replace("LinearRegression()", "LinearRegression(fit_intercept=False)"))
    elif trigger == "repository_data":
        more_rows(20).to_csv(author / "data" / "more.csv", index=False)
        push(author)
    elif trigger == "storage":
        more_rows(20).to_csv(project / "inbox" / "more.csv", index=False)
    elif trigger == "concept_drift":
        serve(running, days=12)
    running.close()


def serve(running: Running, days: int) -> None:
    """Write what a server would have: rows of a world in which `y` is half as much again, each with its label."""
    rows, writer = history(days=days, change=0, seed=5), Writer(running.workspace.journal)
    model = running.workspace.model(running.rows(tables.model_version)[0]["bundle"])
    inputs = {name: rows[name].tolist() for name in ("a", "b", "hour")}
    answers = np.asarray(model.predict_lists(inputs)["prediction"], dtype=float)
    for i in range(len(rows)):
        time = START + 3600 + i * 7200.0
        id = new_id(time, i.to_bytes(10, "big"))
        given = {name: [values[i]] for name, values in inputs.items()}
        answered = Prediction("toy", "v1", given, {"prediction": [float(answers[i])]})
        writer.append("prediction", id, time, msgspec.json.encode(answered))
        observed = Feedback(id, float(rows["y"].iloc[i]), time + 60)
        writer.append("feedback", id, time, msgspec.json.encode(observed))
    writer.flush()
    writer.close()


def work(project: Path, trigger: str) -> None:
    """Step until nothing is left to do, at the same times whenever it is called."""
    running = Running(project)
    for seconds in TIMES[trigger]:
        running.step(START + seconds)
    running.close()


def state(project: Path) -> dict[str, Any]:
    """Return what there must be exactly one of, besides the first."""
    store = Store("sqlite:///.everloop/store.db", project)
    decided = [d for d in store.rows(sa.select(tables.decision)) if d["response"] == "retrain"]
    runs = store.rows(sa.select(tables.run.c.pipeline, tables.run.c.decision, tables.run.c.event, tables.run.c.status))
    place = {d["id"]: number for number, d in enumerate(decided)}  # a hold may lie in between: time goes on
    found = {
        "decisions": [[place[d["id"]], d["status"], d["evidence"].get("triggers"), len(d["events"])] for d in decided],
        "runs": sorted(
            [place[r["decision"]], r["status"], bool(r["event"])] for r in runs if r["pipeline"] == "retrain"
        ),
        "versions": [v["id"] for v in store.rows(sa.select(tables.model_version))],
        "data": [v["rows"] for v in store.rows(sa.select(tables.data_version))],
        "pipelines": [v["id"] for v in store.rows(sa.select(tables.pipeline_version))],
        "events": sorted([e["type"], e["status"]] for e in store.rows(sa.select(tables.event))),
    }
    store.close()
    return found


def in_child(act: Callable[[], Any]) -> tuple[int, Any]:
    """Return how a process of its own ended, and what it found."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, json.dumps(act()).encode())
        except BaseException as error:
            os.write(write, json.dumps({"error": repr(error)}).encode())
        os._exit(0)
    os.close(write)
    with open(read) as answer:
        text = answer.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), json.loads(text or "null")


def copied(base: Path, place: Path) -> Path:
    """Return the project of a copy; git's remote of a copy is the copied one."""
    shutil.copytree(base, place, symlinks=True)
    git(place / "project", "remote", "set-url", "origin", str(place / "remote.git"))
    return place / "project"


def lives(project: Path, trigger: str) -> Any:
    """Return the points that a controller passes which is not killed, and what it leaves."""
    make_mortal()
    work(project, trigger)
    return {"points": list(Points.passed), "state": state(project)}


def dies(project: Path, trigger: str, point: int) -> None:
    """Work until a point, and not beyond."""
    make_mortal()
    Points.passed, Points.death = [], point
    work(project, trigger)


def resumed(project: Path, trigger: str) -> Any:
    """Work after a kill, and return what is there then."""
    work(project, trigger)
    return state(project)


def main(root: Path, trigger: str, every: int) -> None:
    """Print what a living controller leaves, then what is there after a kill at each `every`th point and a restart."""
    base = root / "base"
    _, failed = in_child(lambda: prepare(base, trigger))
    assert failed is None, failed
    _, alive = in_child(lambda: lives(copied(base, root / "alive"), trigger))
    print(json.dumps(alive), flush=True)
    for number in range(1, len(alive["points"]) + 1, every):
        project = copied(base, root / str(number))
        died, _ = in_child(lambda at=project, n=number: dies(at, trigger, n))  # type: ignore[misc]
        _, after = in_child(lambda at=project: resumed(at, trigger))  # type: ignore[misc]
        point = {"point": number, "name": alive["points"][number - 1], "died": died, "after": after}
        print(json.dumps(point), flush=True)
        shutil.rmtree(root / str(number))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
