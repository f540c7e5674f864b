"""Keeps the processes of a running project alive: what dies is started again, with back-off; none outlives it."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from everloop.errors import SystemError_
from everloop.loop.leash import leashed

__all__ = ["Child", "Supervisor"]

SHORT, LONGEST, OFTEN = 10.0, 10.0, 5


class Child(msgspec.Struct, frozen=True):
    """One process: its name, its command line, and the file that its output goes to.

    One that is not `needed` may keep ending: it is started again every few minutes, and the rest goes on.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    needed: bool = True


class Supervisor:
    """Runs children from `with` to its end; one that ends by itself is started again, at once the first time.

    A child that keeps ending within ten seconds is started after 0.1, 0.2, 0.4, ... at most ten seconds.
    """

    def __init__(
        self, children: Sequence[Child], on_restart: Callable[[str, int], None] = lambda _name, _code: None
    ) -> None:
        """`on_restart(name, exit code)` is told of each end that was not asked for."""
        self._children = {c.name: c for c in children}
        self._on_restart = on_restart
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._failures = dict.fromkeys(self._children, 0)
        self._due: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def __enter__(self) -> Supervisor:
        for name in self._children:
            self._start(name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def pid(self, name: str) -> int:
        """Return the process id of a child as it runs now."""
        return self._running[name].pid

    def check(self) -> None:
        """Raise `SystemError_` for a child that ended five times in a row: starting it again does not help."""
        for name, failures in self._failures.items():
            if failures >= OFTEN and self._children[name].needed:
                raise SystemError_(f"the {name} keeps ending: {_last_line(self._children[name].log)}")

    def _start(self, name: str) -> None:
        child = self._children[name]
        child.log.parent.mkdir(parents=True, exist_ok=True)
        with child.log.open("ab") as log:
            command = leashed(child.command)
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._started[name] = time.monotonic()

    def _watch(self) -> None:
        while not self._stopping.wait(0.05):
            now = time.monotonic()
            for name, process in list(self._running.items()):
                if process.poll() is None:
                    if now - self._started[name] > SHORT:
                        self._failures[name] = 0
                elif name not in self._due:
                    failures, needed = self._failures[name], self._children[name].needed
                    if needed or failures < OFTEN:
                        self._on_restart(name, process.returncode)
                    longest = LONGEST if needed else 30 * LONGEST
                    self._due[name] = now + (min(longest, 0.05 * 2 ** min(failures, 20)) if failures else 0)
                    self._failures[name] += 1
                elif now >= self._due[name]:
                    del self._due[name]
                    self._start(name)


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return f"{lines[-1].strip()[:300]} (its log: {log})"
    return f"its log is {log}"
