"""The process from which steps are forked: `python -m everloop.pipelines.executors SOCKET`.

It starts no thread and runs nothing itself, so each fork begins clean; modules that steps ask for it imports once, and
they are paid for all that follow. On the socket it takes a step's number and modules together with its channel and its
log file, and tells each fork's process id and exit status. It ends, and its forks with it, when the other end is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
import tempfile
from typing import Any

import msgspec

from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.executors.orders import Order, Reply, carry_out, failure_of

__all__ = ["NEWS", "Birth", "main", "receive", "send"]

NEWS = struct.Struct("<QBq")
"""A step's number; 0 and the process id of its fork, or 1 and its wait status."""
_LENGTH = struct.Struct("<Q")
_LARGEST = 65_536
_PR_SET_PDEATHSIG = 1


class Birth(msgspec.Struct):
    """What comes with a channel and a log: the number of the fork, and modules to import before."""

    number: int
    preload: tuple[str, ...]


def send(channel: socket.socket, message: msgspec.Struct) -> None:
    """Send one message with its length before it."""
    data = msgspec.msgpack.encode(message)
    channel.sendall(_LENGTH.pack(len(data)) + data)


def receive(channel: socket.socket, kind: type[Any]) -> Any:
    """Return the next message; raises `EOFError` where the other end is gone before it is whole."""
    return msgspec.msgpack.decode(_exactly(channel, _LENGTH.unpack(_exactly(channel, _LENGTH.size))[0]), type=kind)


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = channel.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def _serve(control: socket.socket) -> None:
    """Fork a process for each order until the other end is gone."""
    wake, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the engine's to answer
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    forks: dict[int, int] = {}
    _warm_up()
    while True:
        ready, _, _ = select.select([control.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            _reap(control, forks)
        if control.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(control, _LARGEST, 2)
            if not message:
                break
            birth = msgspec.msgpack.decode(message, type=Birth)
            for module in birth.preload:
                with contextlib.suppress(Exception):  # who needs it says what is wrong with it
                    importlib.import_module(module)
                gc.freeze()  # what is imported by now stays: a fork need not copy it to look at it
            process = os.fork()
            if process == 0:
                os._exit(_fork(control, *descriptors))
            forks[process] = birth.number
            for descriptor in descriptors:
                os.close(descriptor)
            control.send(NEWS.pack(forks[process], 0, process))
    for process in forks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _warm_up() -> None:
    """Do once what each fork would do for the first time: open a store, write and read a value."""
    with tempfile.TemporaryDirectory() as folder:
        artifacts = ArtifactStore(folder)
        artifacts.get(artifacts.put(1))
    gc.freeze()


def _reap(control: socket.socket, forks: dict[int, int]) -> None:
    while forks:
        process, status = os.waitpid(-1, os.WNOHANG)
        if not process:
            return
        with contextlib.suppress(OSError):
            control.send(NEWS.pack(forks.pop(process), 1, status))


def _fork(control: socket.socket, channel: int, log: int) -> int:
    control.close()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(log, 1)
    os.dup2(log, 2)
    with socket.socket(fileno=channel) as connection:
        try:
            order = receive(connection, Order)
            reply = carry_out(order)
        except BaseException as error:
            reply = Reply(failure=failure_of(error))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        send(connection, reply)
    return 0


def main() -> None:
    """Fork until nobody asks any more."""
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _serve(control)
