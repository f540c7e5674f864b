"""The monitor as a whole: a real journal in, signals out; killed anywhere it comes to the same."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from tests.projects import write_project
from tests.serving.sites import RIDES, rides_graph, write_bundle

from everloop import registry, store
from everloop.checks import Verdict
from everloop.cli.drift import drift
from everloop.data import Schema
from everloop.errors import BusyError, NotFoundError, UsageError
from everloop.journal import Writer
from everloop.loop.audit import retain
from everloop.loop.commands import CLOCK, post
from everloop.loop.drift import as_read, behind, episodes, latest, one, row_of
from everloop.loop.lease import lease
from everloop.loop.monitoring import LEASE, MONITOR, Monitor, MonitorState
from everloop.loop.records import load_state
from everloop.loop.trail import show
from everloop.loop.workspace import Workspace, opened
from everloop.tracking.drift_plots import plot
from everloop.types import Column, Event, Explanation, Feedback, Prediction, new_id, show_time

DAY, PER_DAY = 86_400.0, 48
SCHEMA = Schema(RIDES, Column("y", "float64"), "time", "regression")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A project whose champion, the sum of three numbers, was judged on forty days."""
    with opened(write_project(tmp_path / "project")) as found:
        champion(found)
        yield found


def champion(workspace: Workspace) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40 * PER_DAY, 3))
    arrays: dict[str, Any] = {f"input:{c.name}": x[:, i] for i, c in enumerate(RIDES)}
    arrays |= {"target": x.sum(1) + rng.normal(size=len(x)), "answers": x.sum(1)}
    out = io.BytesIO()
    np.savez_compressed(out, time=np.arange(len(x)) * DAY / PER_DAY, **arrays)
    beside = {"reference.npz": out.getvalue(), "schema.json": msgspec.json.encode(SCHEMA)}
    write_bundle(workspace.bundles / "b1", workspace.key, workspace.name, rides_graph(0.0), RIDES, beside)
    passed = Verdict("gate", "pass", "fine")
    with workspace.store.begin() as connection:
        version = registry.register(
            connection, model=workspace.name, bundle=str(workspace.bundles / "b1"), sha256="b1", run="run-1",
            data_version="data-1", window={}, metrics={}, commit=None, verdict=passed, time=6.0,
        )  # fmt: skip
        registry.set_alias(connection, workspace.name, "champion", version, passed, 6.0)


def traffic(workspace: Workspace, first: int, last: int) -> None:
    """Journal days of traffic, each label a day late; from day 50 on the hours lie higher, and the loss does."""
    writer = Writer(workspace.journal)
    for day in range(first, last):
        rng = np.random.default_rng(day)
        moved = day >= 50
        for place in range(PER_DAY):
            row = rng.normal(size=3)
            row[0] += 4 * moved
            moment = (day + place / PER_DAY) * DAY
            id = new_id(moment, f"{day:05}{place:05}".encode())
            inputs = {c.name: [float(row[i])] for i, c in enumerate(RIDES)}
            flags = {"outlier": {"rows": [0], "scores": [9.0]}} if moved and place % 2 else {}
            answer = Prediction(workspace.name, "v1", inputs, {"prediction": [float(row.sum())]}, flags=flags)
            writer.append("prediction", id, moment, msgspec.json.encode(answer))
            truth = float(row.sum() + rng.normal() * (6 if moved else 1))
            label = Feedback(id, truth, moment + DAY)
            writer.append("feedback", id, moment + DAY, msgspec.json.encode(label))
            if place < 10:
                told = [{"row": 0, "values": {c.name: float(row[i]) for i, c in enumerate(RIDES)}}]
                writer.append("explanation", id, moment, msgspec.json.encode(Explanation("v1", told, {})))
    writer.flush()
    writer.close()


def signals(workspace: Workspace) -> list[dict[str, Any]]:
    rows = workspace.store.rows(sa.select(store.signal).order_by(store.signal.c.id))
    return [{k: v for k, v in row.items() if k != "id"} for row in rows if row["name"] != "freshness"]


def test_what_moved_is_found_shown_and_drawn(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traffic(workspace, 40, 60)
    monitor = Monitor(workspace)
    monitor.step(61 * DAY)
    monitor.close()
    found = {row["name"]: row for row in latest(workspace)}
    rang = {row["name"] for row in signals(workspace) if row["firing"]}
    assert {"data_drift:hour", "prediction_drift", "loss_cusum", "loss_adwin"} <= rang
    assert not [row for row in signals(workspace) if row["firing"] and row["time"] < 51 * DAY]
    assert not rang & {"data_drift:temp", "data_drift:hum", "missing:hour"}
    metric = found["realised_metric"]
    assert metric["evidence"]["coverage"] == 1.0
    assert metric["value"] == pytest.approx(6, rel=0.4)
    assert metric["threshold"] == pytest.approx(1, rel=0.1)
    assert found["explanation_drift:hour"]["evidence"]["contribution"] > 2
    assert {"estimated_loss", "data_drift", "freshness"} <= set(found)
    row = row_of(found["data_drift:hour"])
    assert row["firing"] == "yes"
    assert (row["usual"], row["now"]) == (pytest.approx(0, abs=0.2), pytest.approx(4, abs=0.5))
    assert as_read(found["data_drift:hour"])["end"].endswith("T00:00:00Z")
    rung = episodes(workspace, "data_drift:hour")
    firing = [row for row in signals(workspace) if row["name"] == "data_drift:hour" and row["firing"]]
    assert rung[-1]["from"] == firing[0]["time"]
    assert rung[0]["until"] is None
    assert sum(one["windows"] for one in rung) == len(firing)
    assert max(one["most"] for one in rung) == max(row["value"] for row in firing)
    assert {one["signal"] for one in episodes(workspace)} - {"freshness"} == rang
    capsys.readouterr()
    drift("data_drift:hour", workspace.folder, history=True)
    assert "When signals fired" in capsys.readouterr().out
    drift("data_drift:hour", workspace.folder, history=True, json=True)
    told = msgspec.json.decode(capsys.readouterr().out)
    assert [one["from"] for one in told] == [show_time(one["from"]) for one in rung]
    assert [one["windows"] for one in told] == [one["windows"] for one in rung]
    for other in ({"records": True}, {"plot": tmp_path / "drift.png"}):
        with pytest.raises(UsageError, match="--history tells when signals fired: leave --records and --plot out"):
            drift("data_drift:hour", workspace.folder, history=True, **other)
    told = behind(workspace, found["data_drift:hour"])
    assert told
    assert all(row["hour"] > 1.4 for row in told)
    assert show(workspace, told[0]["prediction"]).kind == "prediction"
    assert show(workspace, found["data_drift:hour"]["id"]).record["evidence"]["column"] == "hour"
    with pytest.raises(NotFoundError, match="did you mean 'data_drift:hour'"):
        one(workspace, "data_drift:houer")
    with pytest.raises(NotFoundError, match="no signal 's-99999': `everloop drift` lists them"):
        one(workspace, "s-99999")
    picture, page = plot(Path("drift.png"), latest(workspace)), plot(Path("drift.html"), latest(workspace))
    assert isinstance(picture, bytes)
    assert picture.startswith(b"\x89PNG")
    assert isinstance(page, str)
    assert "data_drift:hour" in page
    with pytest.raises(UsageError, match="no signal here has a histogram"):
        plot(Path("none.png"), [metric])


def test_restarts_between_any_two_looks_change_nothing(tmp_path: Path) -> None:
    once, often = (write_project(tmp_path / name) for name in ("once", "often"))
    with opened(once) as left, opened(often) as right:
        champion(left)
        champion(right)
        for day in range(40, 55):
            traffic(left, day, day + 1)
            traffic(right, day, day + 1)
            monitor = Monitor(right)
            monitor.step((day + 1) * DAY)
            monitor.close()
        whole = Monitor(left)
        for day in range(40, 55):
            whole.step((day + 1) * DAY) if day == 54 else None
        whole.close()
        realised = ("realised_metric", "loss_cusum", "loss_adwin")  # of these the last window waits for labels

        def facts(workspace: Workspace) -> list[Any]:
            return [(s["name"], s["end"], s["value"], s["firing"]) for s in signals(workspace)]

        for names in (True, False):
            chosen = [[f for f in facts(w) if (f[0] in realised) == names] for w in (left, right)]
            assert sorted(chosen[0]) == sorted(chosen[1])
        assert [s["end"] / DAY for s in signals(right) if s["name"] == "data_drift:hour"] == list(range(41, 56))


def test_a_killed_monitor_goes_on_and_a_second_one_is_refused(workspace: Workspace) -> None:
    command = [sys.executable, "-m", "everloop.cli", "monitor", "--project", str(workspace.folder), "--clock", "event"]
    for first, last in ((40, 44), (44, 47)):
        traffic(workspace, first, last)
        post(workspace.store, Event(new_id(last * DAY), CLOCK, "test", last * DAY))
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            wait_until(lambda last=last: rows_read(workspace) == (last - 40) * PER_DAY, process)
            place = workspace.folder / ".everloop" / LEASE
            with pytest.raises(BusyError, match="another monitor"), lease(place, "monitor"):
                pass
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
    windows = [row["end"] / DAY for row in signals(workspace) if row["name"] == "data_drift:hour"]
    assert windows == [41, 42, 43, 44, 45, 46, 47]


def test_retention_keeps_what_the_monitor_has_not_read(workspace: Workspace) -> None:
    traffic(workspace, 40, 42)
    monitor = Monitor(workspace)
    monitor.step(42 * DAY)
    monitor.close()
    traffic(workspace, 42, 44)
    with workspace.store.read() as connection:
        state: MonitorState = load_state(connection, MONITOR, MonitorState)
    assert state.position.segment > 0
    assert retain(workspace, 1.0, 100 * DAY)["records"] == 0  # the controller has read nothing


def rows_read(workspace: Workspace) -> int:
    with workspace.store.read() as connection:
        state: MonitorState = load_state(connection, MONITOR, MonitorState)
        return state.rows


def wait_until(done: Any, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if done():
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        threading.Event().wait(0.05)
    raise AssertionError("the monitor does not come further")
