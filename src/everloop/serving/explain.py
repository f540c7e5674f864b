"""The server's side of explanations: one request at a time, a few that wait, a worker that is started when asked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from everloop.errors import RequestError, SystemError_
from everloop.serving.explainer import LENGTH, Order, Reply
from everloop.serving.limits import too_late
from everloop.types import Explanation

__all__ = ["Explainer"]

WAITING = 16


class Explainer:
    """Explains in a process of its own, which ends with this one."""

    def __init__(
        self,
        keys: Path,
        journal: Path,
        seconds: float,
        native: Sequence[str] | None = None,
        waiting: int = WAITING,
    ) -> None:
        self._keys, self._journal, self._seconds, self._most = keys, journal, seconds, waiting
        self._native = list(native) if native is not None else None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._given_up: set[asyncio.Future[Reply]] = set()

    async def explain(self, order: Order) -> tuple[Explanation, bool]:
        """Return an explanation, and whether the journal held it already.

        Raises `SystemError_` where too many wait or the worker dies, `RequestError` for what cannot be explained or
        takes too long.
        """
        if self._waiting >= self._most:
            raise SystemError_(f"{self._waiting} explanations wait already: try again")
        order.keys, order.journal, order.native = str(self._keys), str(self._journal), self._native
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds), self._turn:
                reply = await self._asked(msgspec.msgpack.encode(order))
        except TimeoutError:
            raise too_late(self._seconds) from None
        finally:
            self._waiting -= 1
        if reply.explanation is None:
            raise SystemError_(reply.error) if reply.status == 503 else RequestError(reply.error, reply.status)
        return reply.explanation, reply.stored

    async def close(self) -> None:
        """End the worker."""
        if self._process:
            process, self._process = self._process, None
            await asyncio.to_thread(_end, process)
        await asyncio.gather(*self._given_up, return_exceptions=True)

    def _forget(self, trip: asyncio.Future[Reply]) -> None:
        self._given_up.discard(trip)
        if not trip.cancelled():
            trip.exception()  # looked at, so that nobody is warned of it

    async def _asked(self, data: bytes) -> Reply:
        process = self._process = self._process or _start()
        trip = asyncio.ensure_future(asyncio.to_thread(_round_trip, process, data))
        try:
            return await asyncio.shield(trip)
        except EOFError as error:
            await self.close()
            raise SystemError_("the process that explains died: try again") from error
        except asyncio.CancelledError:  # given up: what the worker still says belongs to nobody
            self._process = None
            self._given_up.add(trip)
            trip.add_done_callback(self._forget)
            process.kill()
            raise


def _start() -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", "everloop.serving.explainer"], stdin=pipe, stdout=pipe)


def _round_trip(process: subprocess.Popen[bytes], data: bytes) -> Reply:
    """Return the worker's reply; raises `EOFError`, and ends it, when it dies."""
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(LENGTH.pack(len(data)) + data)
        process.stdin.flush()
        size = LENGTH.unpack(_exactly(process.stdout, LENGTH.size))[0]
        return msgspec.msgpack.decode(_exactly(process.stdout, size), type=Reply)
    except (OSError, EOFError) as error:
        _end(process)
        raise EOFError from error


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            try:
                stream.close()
            except OSError:  # an order that was never read
                continue
