"""The load generator: keep-alive connections, the CPU of the server, and the time of each answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import psutil


class Round(NamedTuple):
    """What one round of requests cost: microseconds of CPU a request, requests a second, milliseconds."""

    cpu: float
    rate: float
    p50: float
    p99: float


class Caller(asyncio.Protocol):
    """One keep-alive connection that sends its request again as soon as the answer is there."""

    def __init__(self, request: bytes, left: int, done: asyncio.Future[None]) -> None:
        self._request, self._left, self.done, self._buffer = request, left, done, b""
        self.seconds: list[float] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or not _whole(head.lower(), body):
            return
        if b" 200 " not in head:
            self.done.set_exception(RuntimeError(self._buffer.decode()))
            return
        self._buffer, self._left = b"", self._left - 1
        self.seconds.append(time.perf_counter() - self._sent)
        if self._left > 0:
            self._send()
        elif not self.done.done():
            self._transport.close()
            self.done.set_result(None)


def _whole(head: bytes, body: bytes) -> bool:
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)


def request_of(path: str, body: Mapping[str, Any]) -> bytes:
    """Return the bytes of one request."""
    data = msgspec.json.encode(body)
    lines = (
        f"POST {path} HTTP/1.1", "host: x", "x-user: u-17", "content-type: application/json",
        f"content-length: {len(data)}", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode() + data


def measure(pid: int, port: int, request: bytes, requests: int, connections: int) -> Round:
    """Return what a server, all processes below `pid` together, spends on so many requests."""
    cpu, start = cpu_seconds(pid), time.perf_counter()
    seconds = asyncio.run(load(port, request, requests, connections))
    passed, used = time.perf_counter() - start, cpu_seconds(pid) - cpu
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return Round(used / len(seconds) * 1e6, len(seconds) / passed, float(p50), float(p99))


async def load(port: int, request: bytes, requests: int, connections: int) -> list[float]:
    """Return the seconds of each request."""
    taken = await asyncio.gather(*(call(port, request, requests // connections) for _ in range(connections)))
    return [seconds for one in taken for seconds in one]


async def call(port: int, request: bytes, times: int) -> list[float]:
    loop = asyncio.get_running_loop()
    caller = Caller(request, times, loop.create_future())
    await loop.create_connection(lambda: caller, "127.0.0.1", port)
    await caller.done
    return caller.seconds


def cpu_seconds(pid: int) -> float:
    """Return what a process and all below it have used: a CPU clock has the id of clock_getcpuclockid(3)."""
    return sum(time.clock_gettime((~one << 3) | 2) for one in tree(pid))


def resident(pid: int) -> float:
    """Return the megabytes (10^6 bytes) of memory that a process and all below it hold now, shared pages once each."""
    return sum(psutil.Process(one).memory_full_info().pss for one in tree(pid)) / 1e6


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
