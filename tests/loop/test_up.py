"""`everloop up` as a person runs it: processes killed in turn, a second one refused, a clean end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pandas as pd
import psutil
import pytest
from tests.projects import history, write_project

from everloop.loop.lease import holder

ROW = {"inputs": [{"name": n, "shape": [1], "datatype": "FP64", "data": [0.5]} for n in ("a", "b", "hour")]}


@pytest.mark.slow
def test_up_serves_restarts_and_ends(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "everloop.cli", "up", "--project", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        ids = [answer(port)]
        for name in ("serve", "controller"):
            os.kill(child(process.pid, name), signal.SIGKILL)
            ids.append(answer(port))
        while holder(folder / ".everloop" / "controller.lease") is None:
            threading.Event().wait(0.05)
        told = everloop("run", "--reason", "a test", "--project", folder)
        assert told.stdout.startswith("d-2: v2 is judged beside the champion")
        assert everloop("promote", "v2", "--project", folder).stdout == "d-3: v2 is the champion\n"
        assert everloop("rollback", "--project", folder).stdout == "d-4: v1 is the champion\n"
        assert "did you mean" in everloop("promote", "v22", "--project", folder, code=2).stderr
        ids.append(whole_file(folder, tmp_path, f"http://127.0.0.1:{port}"))
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 3
        assert f"another everloop up (process {process.pid}) runs this project" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"http://127.0.0.1:{port}" in out
    assert "rollout   v1 serves" in out
    assert "server ended with -9: it is started again" in out
    assert out.strip().endswith("stopping")
    for id in ids:
        shown = everloop("show", id, "--project", folder)
        assert shown.stdout.startswith(f"prediction {id}")
        assert "data-1" in shown.stdout


def whole_file(folder: Path, place: Path, url: str) -> str:
    """Predict a file of 450 rows (three requests), label every second row, and return a prediction's id."""
    rows = history(days=38)[:450].assign(note="kept")
    rows.drop(columns="y").to_csv(place / "rows.csv", index=False)
    everloop("predict", place / "rows.csv", "--project", folder, "--url", url, "--out", place / "answers.csv")
    answers = pd.read_csv(place / "answers.csv")
    assert len(answers) == 450
    assert {"note", "prediction_id", "row", "version", "prediction"} <= set(answers.columns)
    assert answers["prediction_id"].nunique() == 3
    assert answers["prediction"].corr(rows["y"]) > 0.9
    answers.assign(y=rows["y"].where(rows.index % 2 == 0)).to_csv(place / "labels.csv", index=False)
    for _ in range(2):
        told = everloop("feedback", place / "labels.csv", "--project", folder, "--url", url)
        assert told.stdout == "225 labels taken\n"
    answers.drop(columns="a").rename(columns={"b": "bb"}).to_csv(place / "wrong.csv", index=False)
    wrong = everloop("predict", place / "wrong.csv", "--project", folder, "--url", url, code=1)
    assert "wrong.csv: column 'a' is missing" in wrong.stderr
    away = everloop("predict", place / "rows.csv", "--project", folder, "--url", "http://127.0.0.1:9", code=3)
    assert away.stderr.strip().splitlines()[-1].startswith("error: the server at http://127.0.0.1:9 does not answer")
    return str(answers["prediction_id"][0])


def everloop(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "everloop.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def answer(port: int) -> str:
    while True:
        try:
            told = httpx.post(f"http://127.0.0.1:{port}/v2/models/toy/infer", json=ROW)
        except httpx.TransportError:
            told = None
        if told is not None and told.status_code == 200:
            return str(told.json()["parameters"]["prediction_id"])
        threading.Event().wait(0.05)


def child(parent: int, name: str) -> int:
    while True:
        for process in psutil.Process(parent).children():
            if name in process.cmdline():
                return int(process.pid)
        threading.Event().wait(0.05)
