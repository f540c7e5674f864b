"""A real server, tried as CI tries it: ready, answering as the version that was asked, within its bounds."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.buckets import free_port
from tests.projects import write_project

from everloop.errors import CheckError, NotFoundError, SystemError_, UsageError
from everloop.loop.asking import ask
from everloop.loop.commands import RETRAIN
from everloop.loop.probes import load, smoke
from everloop.loop.workspace import Workspace, opened

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with opened(write_project(tmp_path / "project", task="classification", days=40)) as workspace:
        yield workspace


def test_what_cannot_be_tried(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="nothing is served yet"):
        smoke(workspace, NOBODY)
    with pytest.raises(NotFoundError, match="'v3'"):
        smoke(workspace, NOBODY, "v3")
    for asked, told in (
        ({"seconds": 0}, r"--seconds 0: a load test lasts more than 0 and at most 300 seconds"),
        ({"seconds": -1}, "--seconds -1: "),
        ({"seconds": math.nan}, "--seconds nan: "),
        ({"seconds": 301}, "--seconds 301: "),
        ({"connections": 0}, "--connections 0: a load test has 1 to 64 callers"),
        ({"connections": 65}, "--connections 65: "),
        ({"most": 0}, "--requests 0: a load test sends at least 1"),
        ({"p99": 0.0}, "--p99 0: name a bound in milliseconds above 0"),
    ):
        usual: dict[str, Any] = {"seconds": 1, "connections": 1, "most": 1, "p99": None}
        with pytest.raises(UsageError, match=told):
            load(workspace, NOBODY, **usual | asked)
    with pytest.raises(UsageError, match="--patience -1: a server is waited for 0 to 3600 seconds"):
        smoke(workspace, NOBODY, patience=-1)


@pytest.mark.slow
def test_a_server_is_tried_and_loaded_within_bounds(workspace: Workspace, tmp_path: Path) -> None:
    ask(workspace.folder, RETRAIN, {"reason": "test"})
    with pytest.raises(SystemError_, match="does not answer"):
        smoke(workspace, NOBODY, patience=0)
    with pytest.raises(CheckError, match="a request of the load test failed: the server at"):
        load(workspace, NOBODY, seconds=1, connections=2, most=10, p99=None)
    port = free_port()
    command = [sys.executable, "-m", "everloop.cli", "serve", "--project", str(workspace.folder), "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        told = smoke(workspace, url)
        assert (told["versions"], told["rows"]) == (["v1"], 5)
        assert set(told["label"]) <= {"yes", "no"}
        assert smoke(workspace, url, "v1")["versions"] == ["v1"]
        loaded = load(workspace, url, seconds=30, connections=2, most=41, p99=10.0)
        assert loaded["requests"] == 40
        assert 0 < loaded["p50_ms"] <= loaded["p99_ms"] < 10_000
        assert loaded["requests_per_second"] > 1
        short = load(workspace, url, seconds=0.2, connections=1, most=1_000_000, p99=None)
        assert 0 < short["requests"] < 1_000_000
        assert load(workspace, url, seconds=1e-9, connections=2, most=99, p99=None)["requests"] == 2
        with pytest.raises(CheckError, match=r"beyond the bound of 0.0001 ms"):
            load(workspace, url, seconds=1, connections=1, most=20, p99=1e-7)
    finally:
        server.terminate()
        server.wait(30)
