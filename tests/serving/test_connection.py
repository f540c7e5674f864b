"""One connection on the wire: the short way of an inference gives the answers of the long one, in their order."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
from tests.serving.sites import Site, Start, named

BODY = msgspec.json.encode(named(3.0))
INFER = "/v2/models/rides/infer"


class Wire:
    """A socket on which bytes are written, and answers read."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.file = self.socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)
            time.sleep(0.01 if len(parts) > 1 else 0.0)

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer; status 0 where the connection ended."""
        line = self.file.readline()
        if not line:
            return 0, {}, b""
        headers = {}
        while (header := self.file.readline().rstrip()) != b"":
            name, _, value = header.decode().partition(": ")
            headers[name.lower()] = value
        return int(line.split()[1]), headers, self.file.read(int(headers.get("content-length", 0)))


def post(path: str = INFER, body: bytes = BODY, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


Connect = Callable[[], Wire]


@pytest.fixture
def connect(site: Site, start: Start) -> Iterator[Connect]:
    """Return what opens a connection to a server that takes bodies of 2,000 bytes."""
    site.write(1)
    with start(site, "--max-body", "2000") as server, contextlib.ExitStack() as open:
        yield lambda: open.enter_context(contextlib.closing(Wire(server.url)))


def hour_of(body: bytes) -> float:
    return float(json.loads(body)["outputs"][0]["data"][0]) - 0.75


def test_requests_on_the_wire(connect: Connect) -> None:
    wire = connect()
    for number in range(3):  # kept alive
        wire.send(post(body=msgspec.json.encode(named(float(number)))))
        status, headers, body = wire.answer()
        assert (status, hour_of(body), headers["content-type"]) == (200, number, "application/json")
        assert "connection" not in headers
    whole = post()
    for place in (1, 30, len(whole) - len(BODY), len(whole) - 1):  # in pieces
        wire.send(whole[:place], whole[place:])
        assert wire.answer()[0] == 200
    numbers = [1.0, 2.0, 3.0, 4.0]  # one after the other without waiting, also mixed with what goes the long way
    pieces = [post(body=msgspec.json.encode(named(n))) for n in numbers]
    wire.send(pieces[0] + pieces[1] + b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n" + pieces[2] + pieces[3])
    found = [wire.answer() for _ in range(5)]
    assert [status for status, _, _ in found] == [200] * 5
    assert [hour_of(body) for _, _, body in (*found[:2], *found[3:])] == numbers
    assert found[2][2] == b'{"live":true}'
    chunked = b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    wire.send(chunked % (INFER.encode(), len(BODY), BODY))
    assert hour_of(wire.answer()[2]) == 3.0
    wire.send(post(INFER + "?a=b"))
    assert wire.answer()[0] == 200
    wire.send(post("/v2/models/%72ides/infer"))
    assert wire.answer()[0] == 200


@pytest.mark.parametrize(
    ("request_", "status", "told"),
    [
        (post(body=b"{"), 400, "the body cannot be understood"),
        (post("/v2/models/other/infer"), 404, "no model 'other'"),
        (post("/nothing/infer"), 404, "no path"),
        (post("/v2/models/rides/versions/v9/infer"), 404, "no version 'v9'"),
        (post(body=b" " * 2001), 413, "larger than 2000 bytes"),
        (post(body=b""), 400, ""),
    ],
)
def test_what_is_wrong_is_told_as_ever(connect: Connect, request_: bytes, status: int, told: str) -> None:
    wire = connect()
    wire.send(request_)
    found, headers, body = wire.answer()
    assert (found, list(json.loads(body))) == (status, ["error"])
    assert told in json.loads(body)["error"]
    assert (headers.get("connection") == "close") == (status == 413)
    if status != 413:
        wire.send(post())
    assert wire.answer()[0] == (0 if status == 413 else 200)


@pytest.mark.parametrize(
    "request_", [post(INFER, BODY, "connection: close"), post(version="1.0"), post(INFER, BODY, "Connection: Close")]
)
def test_a_connection_that_is_to_end_ends_after_its_answer(connect: Connect, request_: bytes) -> None:
    wire = connect()
    wire.send(request_)
    status, headers, body = wire.answer()
    assert (status, hour_of(body), headers["connection"]) == (200, 3.0, "close")
    assert wire.answer()[0] == 0


def test_who_asks_whether_to_go_on_is_told(connect: Connect) -> None:
    wire = connect()
    head, body = post(INFER, BODY, "expect: 100-continue").split(b"\r\n\r\n")
    wire.send(head + b"\r\n\r\n")
    assert wire.file.readline().startswith(b"HTTP/1.1 100")
    assert wire.file.readline() == b"\r\n"
    wire.send(body)
    assert wire.answer()[0] == 200


def test_who_goes_away_disturbs_nobody(connect: Connect) -> None:
    for request in (post()[:-5], post()):
        gone = connect()
        gone.send(request)
        gone.close()
    wire = connect()
    wire.send(b"POST " + b"\0" * 10 + b"\r\n\r\n")
    assert wire.answer()[0] == 400
    again = connect()
    again.send(post())
    assert again.answer()[0] == 200
