from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.projects import write_project

from everloop.errors import BusyError
from everloop.loop.commands import CLOCK, post, result
from everloop.loop.lease import holder, lease
from everloop.store import Store
from everloop.types import Event


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "everloop.cli", "controller", "--project", str(folder), "--clock", "event"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not (path.is_file() and path.read_text().strip() == str(process.pid)):
        assert process.poll() is None, process.stderr and process.stderr.read()


def test_a_lease_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "controller.lease"
    with lease(path):
        with pytest.raises(BusyError, match=rf"another controller \(process {os.getpid()}\)"), lease(path):
            pass
    with lease(path):
        assert path.read_text() == str(os.getpid())


def test_one_controller_at_a_time_and_a_killed_one_leaves_the_lease(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    held = folder / ".everloop" / "controller.lease"
    first = start(folder)
    try:
        wait_for(held, first)
        second = start(folder)
        _, told = second.communicate(timeout=60)
        assert second.returncode == 3
        assert told.strip().endswith(
            f"error: another controller (process {first.pid}) runs this project: stop it first"
        )
    finally:
        first.kill()
        first.communicate()
    third = start(folder)
    wait_for(held, third)
    third.send_signal(signal.SIGTERM)
    third.communicate(timeout=60)
    assert third.returncode == 0


@pytest.mark.slow
def test_a_clock_event_is_carried_out_once_and_survives_a_kill(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    first = start(folder)
    wait_for(folder / ".everloop" / "controller.lease", first)
    store = Store(f"sqlite:///{folder / '.everloop' / 'store.db'}")
    event = Event("clock-1", CLOCK, "test", 1_707_000_000.0)
    post(store, event)
    first.kill()  # perhaps before, perhaps within the first training
    first.communicate()
    second = start(folder)
    try:
        while (outcome := result(store, event.id)) is None:
            assert second.poll() is None, second.stderr and second.stderr.read()
        assert outcome == {"generation": 1}
    finally:
        second.terminate()
        second.communicate(timeout=60)
        store.close()


def test_looking_who_holds_a_lease_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "controller.lease"
    assert holder(path) is None
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder(path)
            stop.wait(0.001)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(5):
            with lease(path):
                assert holder(path) == os.getpid()
    finally:
        stop.set()
        for looker in lookers:
            looker.join()
    assert holder(path) is None
