"""Each step in a process of its own, forked where the imports are paid already: a crash fails that step alone."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

import msgspec

from everloop.errors import SystemError_
from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.executors import StepResult, StepTask
from everloop.pipelines.executors.forkserver import NEWS, Birth, receive, send
from everloop.pipelines.executors.local import LocalExecutor
from everloop.pipelines.executors.orders import Order, Reply, error_of, is_importable, order_of
from everloop.pipelines.step import Step

__all__ = ["IsolatedExecutor", "make"]

_LOG_BYTES = 16_384


class IsolatedExecutor:
    """Runs steps in forks of a clean process, several at a time; a step that cannot be imported runs in this one.

    `slots` is how many run at a time: as many as there are processors, where it is not given. `python` is another
    one than this, in whose environment Everloop is installed too.
    """

    def __init__(self, artifacts: ArtifactStore, slots: int | None = None, python: str | None = None) -> None:
        self._python = python
        self.slots = slots or os.cpu_count() or 1
        self._artifacts = artifacts
        self._here = LocalExecutor(artifacts)
        self._nursery: _Nursery | None = None

    def fits(self, step: Step[..., Any], running: Sequence[Step[..., Any]]) -> bool:
        """Tell whether processors and memory suffice for a step and all that run."""
        steps = [step, *running]
        memory = sum(each.resources.bytes for each in steps)
        return sum(each.resources.cpu for each in steps) <= self.slots and memory <= _memory()

    def submit(self, task: StepTask) -> Future[StepResult]:
        """Begin a step in a process of its own; the future carries the step's error, with its output as a note."""
        if not is_importable(task):
            return self._here.submit(task)
        if self._nursery is None or not self._nursery.alive:
            self.close()
            self._nursery = _Nursery(self._python)
        future: Future[StepResult] = Future()
        future.set_running_or_notify_cancel()
        order = order_of(task, self._artifacts.url)
        if self._python:  # it has its own packages, Everloop among them
            order.paths = [str(task.root), str(task.root / "src")]
        child = self._nursery.bear(task.step.preload)
        arguments = (child, order, task.step.timeout, future)
        threading.Thread(target=_attend, args=arguments, name=f"step {task.name}", daemon=True).start()
        return future

    def close(self) -> None:
        """End the process that steps are forked from, and with it every step that still runs."""
        if self._nursery:
            self._nursery.close()
            self._nursery = None


def make(artifacts: ArtifactStore, _root: Path, _address: str) -> IsolatedExecutor:
    """Return the executor of this machine: the entry point `local`."""
    return IsolatedExecutor(artifacts)


@functools.cache
def _memory() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class _Child:
    """One fork: its channel, its log, and what the nursery tells of it."""

    def __init__(self, channel: socket.socket, log: IO[bytes]) -> None:
        self.channel, self.log = channel, log
        self.process: int | None = None
        self.status: int | None = None
        self.born, self.ended = threading.Event(), threading.Event()

    def kill(self) -> None:
        self.born.wait(10)
        if self.process and not self.ended.is_set():
            os.kill(self.process, signal.SIGKILL)

    def told(self) -> str:
        """Return the end of what it printed."""
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - _LOG_BYTES))
        return self.log.read().decode(errors="replace")


class _Nursery:
    """The clean process that forks, and the thread that listens to it."""

    def __init__(self, python: str | None) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [python or sys.executable, "-m", "everloop.pipelines.executors", str(theirs.fileno())]
        paths = {} if python else {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | paths
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment)
        theirs.close()
        self._numbers, self._children = itertools.count(1), dict[int, _Child]()
        self._lock = threading.Lock()
        self._listener = threading.Thread(target=self._listen, name="forkserver", daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def bear(self, preload: tuple[str, ...]) -> _Child:
        """Return a fork that waits for its order."""
        ours, theirs = socket.socketpair()
        child = _Child(ours, tempfile.TemporaryFile())  # noqa: SIM115
        with self._lock, theirs:
            number = next(self._numbers)
            self._children[number] = child
            try:
                birth = msgspec.msgpack.encode(Birth(number, preload))
                socket.send_fds(self._control, [birth], [theirs.fileno(), child.log.fileno()])
            except OSError as error:
                raise SystemError_(f"the process that steps are forked from is gone: {error.strerror}") from error
        return child

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it is gone already
            self._control.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        self._listener.join()
        self._control.close()

    def _listen(self) -> None:
        try:
            while news := self._control.recv(NEWS.size):
                number, ended, value = NEWS.unpack(news)
                child = self._children[number]
                if ended:
                    child.status = value
                    child.ended.set()
                    del self._children[number]
                else:
                    child.process = value
                    child.born.set()
        except OSError:
            pass
        for child in list(self._children.values()):
            child.born.set()
            child.ended.set()


def _attend(child: _Child, order: Order, timeout: float | None, future: Future[StepResult]) -> None:
    """Hand a fork its order and wait for what comes of it."""
    with child.channel, child.log:
        try:
            child.channel.settimeout(timeout)
            send(child.channel, order)
            reply: Reply = receive(child.channel, Reply)
        except TimeoutError:
            child.kill()
            error: Exception = SystemError_(f"it took longer than its timeout of {timeout:g} s")
        except (EOFError, OSError):
            child.ended.wait(10)
            error = SystemError_(_end_of(child.status))
        else:
            if reply.failure is None:
                sys.stderr.write(child.told())
                future.set_result(StepResult(reply.outputs, reply.usage))
                return
            error = error_of(reply.failure)
        if told := child.told().strip():
            error.add_note(f"it printed:\n{told}")
        future.set_exception(error)


def _end_of(status: int | None) -> str:
    if status is None:
        return "the process that steps are forked from ended"
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return "its process was killed (SIGKILL): most likely the machine ran out of memory"
    if code < 0:
        return f"its process crashed ({signal.Signals(-code).name})"
    return f"its process ended by itself with exit code {code}"
