"""Small tracked projects, and a real MLflow server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
from tests.projects import write_project

_BOOSTED = """
from lightgbm import LGBMClassifier, LGBMRegressor


def regression():
    return LGBMRegressor(n_estimators=12, min_child_samples=5, n_jobs=1, verbose=-1)


def classification():
    return LGBMClassifier(n_estimators=12, min_child_samples=5, n_jobs=1, verbose=-1)
"""
_BROKEN = "def regression():\n    raise ValueError('no such thing')\n"


def tracked_project(folder: Path, settings: str, task: str = "regression") -> Path:
    """Write a project that learns in rounds, with a `[tracking]` table."""
    write_project(folder, task)
    mend(folder)
    place = folder / "everloop.toml"
    place.write_text(f"{place.read_text().partition('[tracking]')[0]}\n[tracking]\n{settings}\n")
    return folder


def mend(folder: Path) -> None:
    """Let the project's model be one that trains."""
    (folder / "toy" / "model.py").write_text(_BOOSTED)


def spoil(folder: Path) -> None:
    """Let the project's model be one that fails."""
    (folder / "toy" / "model.py").write_text(_BROKEN)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """Run a real MLflow server with its database and files in `folder`."""
    folder.mkdir(exist_ok=True)
    options = ("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "a"))
    where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = (sys.executable, "-m", "mlflow", "server", *options, *where)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | quiet)
    try:
        answers(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def answers(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a URL answers."""
    with httpx.Client(verify=False) as client:
        for _ in range(600):
            assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).status_code == 200:
                    return
            threading.Event().wait(0.1)
    raise AssertionError(f"{url} does not answer")
