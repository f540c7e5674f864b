"""One HTTP server process: its socket, its loop, its end on SIGTERM or SIGINT."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from uvicorn import Config, Server

from everloop.errors import BusyError, SystemError_, UsageError
from everloop.serving.connection import Connection

__all__ = ["bind", "run"]

_GRACE = 10
_IDLE = 75
"""Seconds; longer than load balancers keep a connection, so that none is cut as a request arrives."""


def bind(host: str, port: int, setting: str = "--port") -> socket.socket:
    """Return a listening socket; raises `BusyError` when another process has the port, which `setting` chooses."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        told = f"the host {host!r} is unknown ({error.strerror}): name one of this machine, such as 127.0.0.1"
        raise UsageError(told) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _refused(host, port, setting, error) from error
    return listener


def run(app: Callable[..., Any], listener: socket.socket, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is under way; `started` gets the server's URL.

    Requests still open ten seconds after the signal are cut.
    """
    config = Config(
        app,
        loop="asyncio" if sys.platform == "win32" else "uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config, started)
    server.run(sockets=[listener])
    if not server.started:
        raise SystemError_("the server could not start: its log says why")


def url(listener: socket.socket) -> str:
    """Return the URL that a listener answers at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(Server):  # type: ignore[misc]
    """Tells when it listens, and ends with its own exit code instead of dying by the signal again."""

    def __init__(self, config: Config, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            self._tell(url(listener))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _refused(host: str, port: int, setting: str, error: OSError) -> UsageError | BusyError:
    if error.errno == errno.EADDRINUSE:
        return BusyError(f"port {port} on {host} is in use: stop the process that has it, or choose another {setting}")
    if error.errno == errno.EACCES:
        return UsageError(f"port {port} needs rights that this user lacks: choose another {setting}, above 1023")
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"{host} is no address of this machine: name one that is, such as 127.0.0.1")
    return UsageError(f"cannot listen on {host} port {port}: {error.strerror}")
