from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from everloop.errors import SystemError_
from everloop.loop.supervisor import Child, Supervisor

SLEEPER = (sys.executable, "-c", "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(0))\nsignal.pause()")


def test_what_dies_is_started_again_and_all_ends_with_it(tmp_path: Path) -> None:
    ended = threading.Event()
    told: list[tuple[str, int]] = []

    def on_restart(name: str, code: int) -> None:
        told.append((name, code))
        ended.set()

    with Supervisor([Child("sleeper", SLEEPER, tmp_path / "logs" / "sleeper.log")], on_restart) as supervisor:
        first = supervisor.pid("sleeper")
        os.kill(first, signal.SIGKILL)
        assert ended.wait(10)
        while (second := supervisor.pid("sleeper")) == first:
            threading.Event().wait(0.01)
        supervisor.check()
        assert told == [("sleeper", -signal.SIGKILL)]
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_child_that_keeps_ending_is_told_with_its_last_words(tmp_path: Path) -> None:
    broken = (sys.executable, "-c", "raise SystemExit('error: no disk')")
    with Supervisor([Child("server", broken, tmp_path / "server.log")]) as supervisor:
        with pytest.raises(SystemError_, match="the server keeps ending: error: no disk"):
            check_for_ever(supervisor)


def check_for_ever(supervisor: Supervisor) -> None:
    while True:
        supervisor.check()
        threading.Event().wait(0.05)


def test_a_child_that_nobody_needs_may_keep_ending(tmp_path: Path) -> None:
    told: list[str] = []
    broken = Child("page", (sys.executable, "-c", "raise SystemExit(1)"), tmp_path / "page.log", needed=False)
    with Supervisor([broken], lambda name, _code: told.append(name)) as supervisor:
        while supervisor._failures["page"] <= 5:
            supervisor.check()
            threading.Event().wait(0.05)
        supervisor.check()
    assert told == ["page"] * 5
