"""One HTTP connection: uvicorn's, with a short way for the usual inference request.

ASGI costs an inference a quarter of its CPU: a scope, a queue of messages, two sends. A POST to `.../infer` that comes
alone, with its length and no more than 64 kB, goes from the parser to the application and back in one step; every other
request goes uvicorn's way, with the same answers.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

__all__ = ["Connection"]

_MOST = 65_536
_CLOSE = b"connection: close\r\n"


class _Exchange:
    """A request and its answer on the short way, as uvicorn's connection sees those of its own."""

    __slots__ = ("body", "disconnected", "headers", "keep_alive", "message_event", "path", "response_complete")

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]], keep_alive: bool) -> None:
        self.path, self.headers, self.keep_alive = path, headers, keep_alive
        self.body = b""
        self.disconnected = self.response_complete = False
        self.message_event = self

    def set(self) -> None:
        """Nobody waits for messages here."""


class Connection(HttpToolsProtocol):  # type: ignore[misc]
    """Hands usual inference requests to the application's `infer`; all else is uvicorn's."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._infer = getattr(self.app, "infer", None)

    def on_message_begin(self) -> None:
        """Begin a request; the scope is made where it is needed."""
        self.url, self.expect_100_continue = b"", False
        self.headers: list[tuple[bytes, bytes]] = []

    def on_headers_complete(self) -> None:
        """Choose the way of a request."""
        if (exchange := self._exchange()) is not None:
            self.cycle = exchange
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if type(self.cycle) is _Exchange:
            self.cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a request that is whole."""
        if type(self.cycle) is not _Exchange:
            super().on_message_complete()
            return
        task = self.loop.create_task(self._answer(self.cycle))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _exchange(self) -> _Exchange | None:
        """Return the exchange of a request that may go the short way."""
        parser, url = self.parser, self.url
        if (
            self._infer is None
            or not url.endswith(b"/infer")
            or b"%" in url
            or b"?" in url
            or parser.get_method() != b"POST"
        ):
            return None
        if self.expect_100_continue or parser.should_upgrade() or parser.get_http_version() != "1.1":
            return None
        if not url.startswith(b"/") or (self.cycle is not None and not self.cycle.response_complete):
            return None
        length = None
        for name, value in self.headers:
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                return None
        if length is None or len(length) > 5 or int(length) > _MOST:
            return None
        return _Exchange(url.decode("ascii"), self.headers, parser.should_keep_alive())

    async def _answer(self, exchange: _Exchange) -> None:
        assert self._infer
        status, body, headers = await self._infer(exchange.path, exchange.headers, exchange.body)
        if self.flow.write_paused and not exchange.disconnected:
            await self.flow.drain()
        if exchange.disconnected:
            return
        lines = [b"%b: %b\r\n" % header for header in headers]
        if not exchange.keep_alive and _CLOSE not in lines:
            lines.append(_CLOSE)
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        exchange.response_complete = True
        if not exchange.keep_alive or _CLOSE in lines:
            self.transport.close()
        self.on_response_complete()
