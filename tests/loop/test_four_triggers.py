"""A real repository, a real bucket server, a real server and controller, through all four triggers in order."""

from __future__ import annotations

import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.buckets import free_port, s3_server
from tests.projects import history
from tests.pushes import DAY, START, git, more_rows, push, pushed_project

from everloop import store as tables
from everloop.data.dvc import Repository
from everloop.loop import data_versions
from everloop.loop.client import Client
from everloop.loop.dataset import add_data
from everloop.loop.supervisor import Supervisor
from everloop.loop.up import children
from everloop.loop.workspace import opened
from everloop.replay.client import OverHttp
from everloop.store import Store
from everloop.types import Feedback, new_id

TRIGGERS = """
[triggers]
concept_drift = { cooldown = "1d" }
code = true
repository_data = true
storage = { url = "s3://rides/incoming", poll = "1s", debounce = "30s", cooldown = "0s" }

"""
TEST = "from toy.model import regression\n\n\ndef test_it():\n    assert regression()\n"


@pytest.fixture
def bucket() -> Iterator[str]:
    """The URL under which the bucket's objects are put; the environment tells all processes of it."""
    with s3_server("rides") as environment:
        before = dict(os.environ)
        os.environ.update(environment)
        yield f"{environment['AWS_ENDPOINT_URL']}/rides"
        os.environ.clear()
        os.environ.update(before)


def with_data_versions(place: Path) -> tuple[Path, Path]:
    """Return the project and the author's clone, the data versioned by DVC with a remote that both know."""
    project, author = pushed_project(place, TRIGGERS, days=20)
    rows = shutil.move(author / "data" / "history.csv", place / "history.csv")
    git(author, "rm", "-rq", "--cached", "data")
    git(author, "commit", "-qm", "no data in git")
    with opened(author) as workspace:
        add_data(workspace, [str(rows)])
        data_versions.set_remote(workspace, f"{place / 'versions'}")
        data_versions.push(workspace)
    git(author, "push", "-q", "origin", "main")
    shutil.rmtree(project)
    git(place, "clone", "-q", str(place / "remote.git"), str(project))
    Repository(project, "data").checkout("HEAD")
    return project, author


def put(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": "text/csv"})
    with urllib.request.urlopen(request, timeout=10):
        pass


def live_in_another_world(loop: OverHttp, days: int) -> None:
    """Ask for rows of a world in which `y` is half as much again, and send each label an hour later."""
    rows = history(days=days, change=0, seed=5)
    for i, row in enumerate(rows.to_dict("records")):
        time = START + DAY + i * 7200.0
        id = new_id(time, i.to_bytes(10, "big"))
        assert loop.predict(id, time, {name: row[name] for name in ("a", "b", "hour")}) is not None
        loop.label([Feedback(id, float(row["y"]), time + 3600)])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_four_triggers_in_order(bucket: str, tmp_path: Path) -> None:
    project, author = with_data_versions(tmp_path)
    port, store = free_port(), Store("sqlite:///.everloop/store.db", project)
    with ExitStack() as stack:
        processes = children(project, port, "event", project / ".everloop" / "logs")
        supervisor = stack.enter_context(Supervisor(processes, lambda _name, _code: None))
        client = Client(f"http://127.0.0.1:{port}", "toy", patience=240.0, check=supervisor.check)
        stack.callback(client.close)
        loop = OverHttp(client, store, supervisor.check)
        loop.advance(START)
        model = (
            (author / "toy" / "model.py").read_text().replace("LinearRegression()", "LinearRegression(positive=True)")
        )
        code = push(author, toy__model_py=model, tests__test_toy_py=TEST)
        loop.advance(START + 100)

        more_rows(20).to_csv(tmp_path / "june.csv", index=False)
        with opened(author) as workspace:
            data = add_data(workspace, [str(tmp_path / "june.csv")]).commit
        git(author, "push", "-q", "origin", "main")
        loop.advance(START + 200)

        put(f"{bucket}/incoming/july.csv", more_rows(25).to_csv(index=False).encode())
        loop.advance(START + 300)
        loop.advance(START + 340)

        live_in_another_world(loop, days=12)
        loop.advance(START + 14 * DAY)
        assert loop.failed == 0
    decisions = store.rows(sa.select(tables.decision).order_by(tables.decision.c.number))
    told = [(d["id"], d["response"], d["status"], d["evidence"].get("triggers")) for d in decisions]
    assert told[:4] == [
        ("d-1", "retrain", "done", None),
        ("d-2", "retrain", "done", ["code"]),
        ("d-3", "retrain", "done", ["repository_data"]),
        ("d-4", "retrain", "done", ["storage"]),
    ], decisions
    assert [d["response"] for d in decisions[4:]] == ["retrain"]
    assert {s["name"] for s in decisions[4]["evidence"]["signals"]} & {"realised_loss", "challenger_gain"}
    assert decisions[1]["evidence"]["code"] == {"commit": code, "test": True}
    assert decisions[2]["evidence"]["data"]["commit"] == data
    assert [one["url"] for one in decisions[3]["evidence"]["objects"]] == ["s3://rides/incoming/july.csv"]

    (pipeline,) = store.rows(sa.select(tables.pipeline_version))
    assert pipeline["commit"] == code
    assert pipeline["tested"]
    assert pipeline["deployed"]
    versions = store.rows(sa.select(tables.model_version).order_by(tables.model_version.c.number))
    rows = {v["id"]: v["rows"] for v in store.rows(sa.select(tables.data_version))}
    assert [v["id"] for v in versions] == ["v1", "v2", "v3", "v4", "v5"]
    assert [v["commit"] for v in versions[1:]] == [code] * 4
    assert [rows[v["data_version"]] for v in versions] == [240, 240, 300, 360, 504]
    runs = {r["decision"]: r for r in store.rows(sa.select(tables.run)) if r["pipeline"] == "retrain"}
    for decision, version in zip(decisions, versions, strict=True):
        assert runs[decision["id"]]["id"] == version["run"] == decision["run"]
        assert runs[decision["id"]]["event"] == next(iter(decision["events"]), None)
    sensed = store.rows(sa.select(tables.event).where(tables.event.c.type.in_(("everloop.push", "everloop.objects"))))
    assert sorted(e["result"]["decision"] for e in sensed) == ["d-2", "d-3", "d-4"]
    assert Repository(project, "data").versioned() == ["history.csv", "july.csv", "june.csv"]
    store.close()
