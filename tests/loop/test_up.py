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
import psutil
from tests.projects import write_project

ROW = {"inputs": [{"name": n, "shape": [1], "datatype": "FP64", "data": [0.5]} for n in ("a", "b", "hour")]}


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
        shown = subprocess.run(
            [sys.executable, "-m", "everloop.cli", "show", id, "--project", str(folder)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert shown.stdout.startswith(f"prediction {id}")
        assert "data-1" in shown.stdout


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
