"""Two controllers on one PostgreSQL: one is elected, and the other takes over when it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.databases import new_database, postgresql_server
from tests.projects import write_project

from everloop import store as tables
from everloop.errors import BusyError, StoreError
from everloop.loop.commands import CLOCK, post, result
from everloop.loop.election import StoppedError, elected, somebody_elected
from everloop.loop.lease import holder
from everloop.store import Store
from everloop.types import Event


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql_server() as url:
        yield url


def test_a_store_of_one_machine_elects_nobody(tmp_path: Path) -> None:
    store = Store("sqlite:///store.db", tmp_path)
    with elected(store) as check, elected(store):
        check()
        assert not somebody_elected(store)
    store.close()


@pytest.mark.slow
def test_one_is_elected_until_its_session_ends(server: str) -> None:
    url = new_database(server)
    first, second = Store(url), Store(url)
    with elected(first) as check:
        check()
        assert somebody_elected(second)
        with pytest.raises(BusyError, match="another controller is elected"), elected(second):
            pass
        stop = threading.Event()
        stop.set()
        with pytest.raises(StoppedError), elected(second, stop):
            pass
    assert not somebody_elected(first)
    with elected(second), second.session() as other:
        assert somebody_elected(first)
        assert other.execute(sa.text("SELECT 1")).scalar() == 1
    first.close()
    second.close()


@pytest.mark.slow
def test_a_controller_whose_session_is_cut_notices_before_its_next_step(server: str) -> None:
    url = new_database(server)
    store, other = Store(url), Store(url)

    def cut() -> None:
        with other.session() as session:
            session.execute(
                sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
            )

    with elected(store) as check:
        check()
        cut()
        with elected(other), pytest.raises(StoreError, match="another one may run"):
            check()
    store.close()
    other.close()


def wait_until(what: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not what():
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_one_that_waits_takes_over_when_the_first_is_killed(server: str, tmp_path: Path) -> None:
    folder, url = write_project(tmp_path / "project", days=30), new_database(server)
    with (folder / "everloop.toml").open("a") as file:
        file.write('\n[storage]\nstore = "$EVERLOOP_TEST_STORE"\n')
    environment = os.environ | {"EVERLOOP_TEST_STORE": url}
    command = [sys.executable, "-m", "everloop.cli", "controller", "--project", str(folder), "--clock", "event"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)

    lease, store = folder / ".everloop" / "controller.lease", Store(url)
    first = start()
    second: subprocess.Popen[str] | None = None
    try:
        wait_until(lambda: holder(lease) == first.pid, first)
        second = start()
        assert second.stderr is not None
        assert "another controller is elected: this one waits" in second.stderr.readline()
        post(store, Event("clock-1", CLOCK, "test", 1_707_000_000.0))
        first.kill()  # perhaps before, perhaps within the first training
        first.communicate()
        wait_until(lambda: holder(lease) == second.pid, second)
        wait_until(lambda: result(store, "clock-1") is not None, second)
        assert result(store, "clock-1") == {"generation": 1}
        assert [v["id"] for v in store.rows(sa.select(tables.model_version.c.id))] == ["v1"]
        assert [d["id"] for d in store.rows(sa.select(tables.decision.c.id))] == ["d-1"]
    finally:
        for process in (first, second):
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()
        store.close()
