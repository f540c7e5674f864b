"""The demo with real processes, some of them killed, against the backtest of the same rows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.replays import Replayed, facts

from everloop.errors import UsageError
from everloop.journal import Reader
from everloop.loop.supervisor import Supervisor
from everloop.loop.workspace import open_workspace
from everloop.replay.backtest import backtest
from everloop.replay.bike_sharing import BikeData, obtain, simulate
from everloop.replay.demo import Listener, make_project, run_demo
from everloop.replay.history import load_history
from everloop.replay.scratch import scratch_workspace
from everloop.settings import load
from everloop.types import Feedback, Prediction

ROWS = 2600
REAL = Path(__file__).parents[3] / "shared" / "data" / "bike-sharing" / "hour.csv"


class Killer(Listener):
    """Kills the controller in its first training, then both in turn, amid the requests of a day or a decision."""

    def __init__(self) -> None:
        self.killed: list[str] = []
        self.timers: list[threading.Timer] = []
        self.supervisor: Supervisor | None = None

    def processes(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    def stage(self, name: str) -> None:
        if name == "training":
            self.kill("controller", 1.5)

    def progress(self, done: int, total: int) -> None:
        if total < 100 and done % 9 == 4:
            self.kill("server" if done % 2 else "controller", 0.001 * (done % 40))

    def kill(self, name: str, after: float) -> None:
        def now() -> None:
            assert self.supervisor is not None
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.supervisor.pid(name), signal.SIGKILL)
                self.killed.append(name)

        timer = threading.Timer(after, now)
        timer.start()
        self.timers.append(timer)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> BikeData:
    if REAL.is_file():
        return obtain(REAL, REAL.parent)
    path = tmp_path_factory.mktemp("data") / "hour.csv"
    simulate().to_csv(path, index=False)
    return obtain(path, path.parent)


@pytest.fixture(scope="module")
def demo(data: BikeData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Killer]:
    out, killer = tmp_path_factory.mktemp("demo") / "out", Killer()
    summary = run_demo(data, out, killer, ROWS)
    for timer in killer.timers:
        timer.join()
    return out, summary, killer


@pytest.mark.slow
def test_killed_processes_lose_nothing_acknowledged(demo: tuple[Path, dict[str, Any], Killer], data: BikeData) -> None:
    out, summary, killer = demo
    assert {"server", "controller"} == set(killer.killed)
    assert len(killer.killed) >= 5
    assert summary["predictions"]["failed"] == 0
    assert summary["predictions"]["sent"] == ROWS // 2
    predicted: dict[str, Prediction] = {}
    labelled: dict[str, Feedback] = {}
    with contextlib.closing(Reader(out / "project" / ".everloop" / "journal")) as reader:
        while records := reader.poll(5000):
            for record in records:
                assert record.verify()
                if record.kind == "prediction":
                    predicted.setdefault(record.id, record.read(Prediction))
                elif record.kind == "feedback":
                    labelled.setdefault(record.id, record.read(Feedback))
    assert len(predicted) == ROWS // 2
    assert set(labelled) <= set(predicted)
    project = out / "project"
    times = load_history(project, load(project), str(data.path), ROWS).live_times
    last_day = np.ceil((times[-1] - times[0]) / 86400.0) * 86400.0 + times[0]
    assert len(labelled) == np.sum(times + 86400.0 <= last_day)  # each label that was due was acknowledged


@pytest.mark.slow
def test_demo_and_backtest_decide_the_same(
    demo: tuple[Path, dict[str, Any], Killer], data: BikeData, tmp_path: Path
) -> None:
    out, summary, _ = demo
    project = out / "project"
    settings = load(project)
    history = load_history(project, settings, str(data.path), ROWS)
    scratch = scratch_workspace(project, settings, history, tmp_path / "state")
    played = backtest(scratch, history, lambda _day, _days: None)
    with contextlib.closing(open_workspace(project)) as workspace, contextlib.closing(scratch):
        assert facts(Replayed(workspace, history, played)) == facts(Replayed(scratch, history, played))
    assert summary["retrainings"]


@pytest.mark.slow
def test_the_summary_holds_what_the_readme_promises(demo: tuple[Path, dict[str, Any], Killer]) -> None:
    out, summary, _ = demo
    assert json.loads((out / "summary.json").read_text()) == json.loads(msgspec.json.encode(summary))
    assert set(summary["data"]) == {"rows", "sha256", "origin"}
    assert {"frozen", "loop", "calendar"} <= set(summary["rmse"])
    assert {"wall_seconds", "cpu_seconds", "peak_memory_mib"} <= set(summary)
    assert 100 < summary["peak_memory_mib"] < 2048
    for version in summary["versions"]:
        assert {"id", "data_version", "commit", "window", "metrics", "gates"} <= set(version)
        assert len(version["commit"]) == 40
    for retraining in summary["retrainings"]:
        assert retraining["time"].endswith("Z")
        assert retraining["evidence"][0]["threshold"] > 0
        assert retraining["verdict"]
    assert (out / "report.html").stat().st_size > 20_000
    assert (out / "error.png").stat().st_size > 10_000


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="was not made by a demo: choose another --out"):
        make_project(tmp_path)
    assert (tmp_path / "project" / "thesis.txt").exists()
