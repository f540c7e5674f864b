"""A REST API on a real server: each way of paging, what is asked again and how late, what is not asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.data.sources.places import answering

from everloop.data.sources.opening import opened_source
from everloop.data.sources.rest import RestSource
from everloop.errors import CheckError, DataError, EverloopError, SystemError_
from everloop.settings import Source

ROWS = [{"id": i} for i in range(10)]


class Server:
    """Answers each request with what is next in `answers`, else with a page of `ROWS`; notes what it was asked."""

    def __init__(self) -> None:
        self.asked, self.answers = list[dict[str, str]](), list[tuple[int, dict[str, str], Any]]()
        self.url = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], Any]:
        params = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        self.asked.append(params)
        if self.answers:
            return self.answers.pop(0)
        start = int(params.get("offset", 4 * (int(params["page"]) - 1) if "page" in params else params.get("at", 0)))
        more = start + 4 < len(ROWS)
        links = {"link": f'<{self.url}?at={start + 4}>; rel="next"'} if more else {}
        body = {"items": ROWS[start : start + 4], "links": {"next": f"/rows?at={start + 4}" if more else None}}
        return 200, links, body | {"token": start + 4 if more else ""}


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    with answering(lambda path, _who: found.answer(path)) as url:
        found.url = f"{url}/rows"
        yield found


class Clock:
    """A clock that moves only where somebody waits, and what was waited."""

    def __init__(self) -> None:
        self.now, self.waits = 100.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(round(seconds, 3))


def read(server: Server, clock: Clock | None = None, **keys: Any) -> list[int]:
    clock = clock or Clock()
    settings = Source(url=server.url, cursor=("id",), rows="items", **keys)
    source = RestSource(httpx.Client(follow_redirects=True), server.url, {}, settings, clock.sleep, lambda: clock.now)
    return [row["id"] for chunk in source.read({}, 1000) for row in chunk.rows]


@pytest.mark.parametrize(
    ("paging", "asked"),
    [
        ("link", [{}, {"at": "4"}, {"at": "8"}]),
        ("next:links.next", [{}, {"at": "4"}, {"at": "8"}]),
        ("token:at:token", [{}, {"at": "4"}, {"at": "8"}]),
        ("page:page", [{"page": "1"}, {"page": "2"}, {"page": "3"}, {"page": "4"}]),
        ("offset:offset", [{"offset": "0"}, {"offset": "4"}, {"offset": "8"}, {"offset": "10"}]),
    ],
)
def test_each_way_of_paging(server: Server, paging: str, asked: list[dict[str, str]]) -> None:
    assert read(server, paging=paging) == list(range(10))
    assert server.asked == asked


def test_without_paging_there_is_one_answer(server: Server) -> None:
    assert read(server) == [0, 1, 2, 3]


def test_what_may_pass_is_asked_again_later_each_time(server: Server) -> None:
    clock = Clock()
    server.answers = [(503, {}, {}), (500, {}, {}), (429, {"retry-after": "7"}, {})]
    assert read(server, clock) == [0, 1, 2, 3]
    first, second, told = clock.waits
    assert 0.25 <= first <= 0.5
    assert 0.5 <= second <= 1.0
    assert told == 7.0


@pytest.mark.parametrize(("told", "least", "most"), [("-1", 0.25, 0.5), ("soon", 0.25, 0.5), ("99999", 60, 60)])
def test_how_long_a_server_says_to_wait(server: Server, told: str, least: float, most: float) -> None:
    clock = Clock()
    server.answers = [(429, {"retry-after": told}, {})]
    read(server, clock)
    assert least <= clock.waits[0] <= most
    clock, server.answers = Clock(), [(503, {"retry-after": formatdate(0, usegmt=True)}, {})]
    read(server, clock)
    assert clock.waits == [0.0]


def test_what_does_not_pass_is_told(server: Server) -> None:
    server.answers = [(503, {}, {})] * 3
    with pytest.raises(SystemError_, match="cannot be read: status 503 Service Unavailable, asked 3 times"):
        read(server, retries=2)
    server.answers = [(404, {}, {})]
    with pytest.raises(SystemError_, match="cannot be read: status 404 Not Found"):
        read(server)
    clock, away = Clock(), Server()
    away.url = "http://127.0.0.1:1/rows"
    with pytest.raises(SystemError_, match=r"cannot be read: no answer .* asked 2 times"):
        read(away, clock, retries=1)
    assert len(clock.waits) == 1


def test_requests_keep_a_rate(server: Server) -> None:
    clock = Clock()
    read(server, clock, paging="page:page", rate=4.0)
    assert clock.waits == [0.25, 0.25, 0.25]


@pytest.mark.parametrize(
    ("answer", "paging", "told"),
    [
        ("<html>", "", "does not answer in JSON"),
        ({"items": {"id": 1}}, "", "gives no list of rows: 'items' of its answer is dict"),
        ({"items": [1]}, "", "gives no list of rows"),
        ({"items": [], "links": {"next": "http://elsewhere.invalid/"}}, "next:links.next", "another server"),
        ({"items": [], "links": {"next": "/rows"}}, "next:links.next", "the same page again"),
    ],
)
def test_an_answer_that_cannot_be_taken_is_one_sentence(server: Server, answer: Any, paging: str, told: str) -> None:
    server.answers = [(200, {}, answer)]
    with pytest.raises((DataError, SystemError_), match=told):
        read(server, paging=paging)


def test_a_secret_that_a_server_repeats_is_not_told(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s3cr3t&value/#1"
    caplog.set_level(logging.DEBUG)
    settings = Source(url=f"{server.url}?api_key=$KEY", cursor=("id",), rows="items")
    server.answers = [(200, {}, {"items": [{"id": 1}, {"id": secret}]})]
    with (
        pytest.raises(EverloopError) as caught,
        opened_source(settings, "shop", "toy", tmp_path, {"KEY": secret}) as one,
    ):
        list(one.read({}, 10))
    assert isinstance(caught.value, CheckError)
    server.answers = [(404, {}, {})]
    with pytest.raises(SystemError_) as away, opened_source(settings, "shop", "toy", tmp_path, {"KEY": secret}) as one:
        list(one.read({}, 10))
    assert server.asked[-1] == {"api_key": secret}
    told = str(caught.value) + str(away.value) + caplog.text
    assert "s3cr3t" not in told
