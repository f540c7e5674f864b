"""Several worker processes behind one listening socket: started, watched, started again, ended together."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator

import msgspec

from everloop.errors import BusyError, EverloopError, SystemError_
from everloop.serving.options import ServeOptions

__all__ = ["reserved", "run_workers"]

_log = logging.getLogger("everloop.serving")
_OFTEN, _SHORT, _LONGEST, _GRACE = 5, 10.0, 10.0, 15.0
_PR_SET_PDEATHSIG = 1

Work = Callable[[int, Callable[[], None]], None]
"""What a worker does, given its number and what to call once it takes requests; returns at SIGTERM."""


def run_workers(count: int, work: Work, started: Callable[[], None]) -> None:
    """Run `count` forks of this process until SIGTERM or SIGINT; `started` is called once all of them take requests.

    One that dies is forked again, at once the first time, then after 0.1, 0.2, ... at most ten seconds. Raises
    `SystemError_` where one ends five times in a row within ten seconds. Call it before any thread is started.
    """
    _Workers(count, work, started).run()


@contextlib.contextmanager
def reserved(options: ServeOptions) -> Iterator[ServeOptions]:
    """Return options whose gRPC port is one that every worker may listen on, kept for them meanwhile."""
    if options.grpc_port is None:
        yield options
        return
    family, kind, protocol, _, address = socket.getaddrinfo(options.host, options.grpc_port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            keeper.bind(address)
        except OSError as error:
            raise BusyError(f"gRPC port {options.grpc_port} is in use: choose another --grpc-port") from error
        yield msgspec.structs.replace(options, grpc_port=keeper.getsockname()[1])


class _Workers:
    def __init__(self, count: int, work: Work, started: Callable[[], None]) -> None:
        self._count, self._work, self._started = count, work, started
        self._running: dict[int, int] = {}
        self._since: dict[int, float] = {}
        self._failures = dict.fromkeys(range(count), 0)
        self._due = dict.fromkeys(range(count), 0.0)
        self._ready: set[int] = set()
        self._told = self._stopping = False
        self._reading, self._writing = os.pipe()

    def run(self) -> None:
        wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        previous = signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        try:
            while not self._stopping:
                self._fork_due()
                self._look(wake)
        finally:
            signal.set_wakeup_fd(previous)
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)
            for descriptor in (wake, wakes, self._reading, self._writing):
                os.close(descriptor)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _fork_due(self) -> None:
        now = time.monotonic()
        for worker in range(self._count):
            if worker not in self._running and self._due[worker] <= now:
                self._fork(worker)

    def _fork(self, worker: int) -> None:
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            os._exit(self._child(worker, parent))
        self._running[worker], self._since[worker] = process, time.monotonic()

    def _child(self, worker: int, parent: int) -> int:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before we asked
                return 0
        try:
            self._work(worker, lambda: _tell(self._writing, worker))
        except EverloopError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            return error.exit_code
        except BaseException:
            _log.exception("worker %d failed", worker)
            return 1
        return 0

    def _look(self, wake: int) -> None:
        """Wait for news: a worker that is ready, one that ended, a signal."""
        soonest = min((self._due[w] for w in range(self._count) if w not in self._running), default=None)
        patience = 0.2 if soonest is None else max(0.0, min(0.2, soonest - time.monotonic()))
        found, _, _ = select.select([self._reading, wake], [], [], patience)
        for descriptor in found:
            news = os.read(descriptor, 4096)
            if descriptor == self._reading:
                self._ready.update(news)
        if len(self._ready) == self._count and not self._told:
            self._told = True
            self._started()
        self._reap()

    def _reap(self) -> None:
        for worker, process in list(self._running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                if time.monotonic() - self._since[worker] > _SHORT:
                    self._failures[worker] = 0
                continue
            del self._running[worker]
            if self._stopping:
                continue
            failures = self._failures[worker]
            code = os.waitstatus_to_exitcode(status)
            if failures >= _OFTEN or (code > 0 and worker not in self._ready):
                raise SystemError_(f"worker {worker} ended with {code}: its words above say why")
            _log.error("worker %d ended with %d: it is started again", worker, code)
            self._due[worker] = time.monotonic() + (min(_LONGEST, 0.05 * 2**failures) if failures else 0.0)
            self._failures[worker] += 1

    def _end(self) -> None:
        """Let every worker answer what is under way; end those that do not come to an end."""
        for process in self._running.values():
            os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for process in self._running.values():
            while not os.waitpid(process, os.WNOHANG)[0]:
                if time.monotonic() >= deadline:
                    os.kill(process, signal.SIGKILL)
                time.sleep(0.02)


def _tell(descriptor: int, worker: int) -> None:
    os.write(descriptor, bytes([worker]))
