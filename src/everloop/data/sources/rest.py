"""A REST API: its answers page by page, asked again where that may help, no faster than it allows."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from everloop.data.sources.newest import Newest
from everloop.data.sources.source import Chunk, Cursor, Given, Row
from everloop.errors import DataError, SystemError_
from everloop.settings import Source

__all__ = ["RestSource", "make"]

logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each URL, and what is secret in it
AGAIN = {408, 425, 429, 500, 502, 503, 504}
TIMEOUT, FIRST_WAIT, LONGEST_WAIT = 60.0, 0.5, 60.0


def make(settings: Source, given: Given) -> RestSource:
    """Return the source."""
    params, headers = given.secrets.filled(settings.params), given.secrets.filled(settings.headers)
    client = httpx.Client(headers={"accept": "application/json"} | headers, timeout=TIMEOUT, follow_redirects=True)
    return RestSource(client, given.secrets.fill(settings.url, in_url=True), params, settings)


class RestSource:
    """Asks for what is newer than the newest row; the order in which rows come does not matter."""

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        params: dict[str, str],
        settings: Source,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._url, self._params, self._settings = client, httpx.URL(url), params, settings
        self._sleep, self._clock, self._next = sleep, clock, 0.0

    def read(self, cursor: Cursor, limit: int) -> Iterator[Chunk]:
        """Yield the new rows of each page; only all pages together tell where to go on, whatever the limit is."""
        del limit
        newest = Newest(self._settings.cursor, self._settings.overlap, cursor)
        params = dict(self._params)
        if self._settings.since and newest.known:
            params[self._settings.since] = str(newest.start)
        try:
            for rows in self._pages(params):
                yield Chunk(list(newest.take(rows, ordered=False)), None)
        finally:
            self._client.close()
        yield Chunk([], newest.cursor)

    def _pages(self, params: dict[str, str]) -> Iterator[list[Row]]:
        """Yield the rows of one answer after the other."""
        how, _, where = self._settings.paging.partition(":")
        url, asked, seen, page = self._url, set[str](), 0, 1
        while True:
            if how in ("page", "offset"):
                params[where] = str(page if how == "page" else seen)
            if (request := str(url.copy_merge_params(params))) in asked:
                raise DataError("names the same page again and again: see paging")
            asked.add(request)
            answer = self._ask(url, params)
            rows, body = self._rows(answer)
            yield rows
            seen, page = seen + len(rows), page + 1
            if how in ("page", "offset"):
                following: Any = where if rows else None
            elif how == "token":
                name, _, path = where.partition(":")
                if following := _at(body, path):
                    params[name] = str(following)
            else:
                following = (
                    answer.links.get("next", {}).get("url") if how == "link" else _at(body, where) if how else None
                )
                if following:
                    url, params = self._same_server(answer.url.join(str(following))), {}
            if not following:
                return

    def _ask(self, url: httpx.URL, params: dict[str, str]) -> httpx.Response:
        """Return an answer of status 200; what may go away by itself is asked again, later each time."""
        for attempt in range(self._settings.retries + 1):
            self._keep_rate()
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1.0)
            try:
                answer = self._client.get(url, params=params or None)
            except httpx.TransportError as error:
                reason = f"no answer ({str(error) or type(error).__name__})"
            else:
                if answer.is_success:
                    return answer
                reason = f"status {answer.status_code} {answer.reason_phrase}".rstrip()
                if answer.status_code not in AGAIN:
                    raise SystemError_(f"cannot be read: {reason}")
                wait = _told_wait(answer, wait)
            if attempt < self._settings.retries:
                self._sleep(wait)
        raise SystemError_(f"cannot be read: {reason}, asked {self._settings.retries + 1} times")

    def _keep_rate(self) -> None:
        """Wait until the next request is allowed."""
        if self._settings.rate:
            now = self._clock()
            if self._next > now:
                self._sleep(self._next - now)
            self._next = max(now, self._next) + 1 / self._settings.rate

    def _rows(self, answer: httpx.Response) -> tuple[list[Row], Any]:
        try:
            body = msgspec.json.decode(answer.content)
        except msgspec.MsgspecError as error:
            raise SystemError_(f"does not answer in JSON: {error}") from None
        rows = _at(body, self._settings.rows)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            where = f"{self._settings.rows!r} of its answer" if self._settings.rows else "its answer"
            raise DataError(
                f"gives no list of rows: {where} is {type(rows).__name__}; name the place of the list in rows"
            )
        return rows, body

    def _same_server(self, url: httpx.URL) -> httpx.URL:
        """Return the URL of a page; raises `DataError` where another server would be sent our headers."""
        if (url.scheme, url.host, url.port) != (self._url.scheme, self._url.host, self._url.port):
            raise DataError(f"names a next page on another server, {url.host}: it is not asked")
        return url


def _at(body: Any, path: str) -> Any:
    """Return what lies at a path such as `data.items`, None where nothing does."""
    for part in filter(None, path.split(".")):
        body = body.get(part) if isinstance(body, dict) else None
    return body


def _told_wait(answer: httpx.Response, otherwise: float) -> float:
    """Return how long the server says to wait (seconds, or a date)."""
    told = answer.headers.get("retry-after", "")
    if told.isdigit():
        return min(float(told), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return otherwise
    return min(LONGEST_WAIT, max(0.0, (moment - datetime.now(UTC)).total_seconds()))
