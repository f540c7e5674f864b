"""Reads the body of a request, at most so many bytes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from everloop.errors import RequestError

__all__ = ["DisconnectedError", "Message", "Receive", "discard", "read_body", "too_large"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_LINGER = 2.0


class DisconnectedError(Exception):
    """The caller went away before its request was complete: there is nobody to answer."""


async def read_body(receive: Receive, length: str | None, limit: int) -> bytes:
    """Return the whole body; raises a `RequestError` of status 413 as soon as it must be over `limit` bytes.

    `length` is the Content-Length header: a body that announces too much is not read at all.
    """
    if length is not None and length.isdecimal() and int(length) > limit:
        raise too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body") and len(body) <= limit:
        return body  # the usual case: one message
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


async def discard(receive: Receive) -> None:
    """Throw away what still arrives, for two seconds at most, keeping nothing.

    A caller that is still sending reads the answer only if the connection is not cut under it.
    """

    async def to_the_end() -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return

    try:
        await asyncio.wait_for(to_the_end(), _LINGER)
    except TimeoutError:
        return


def too_large(limit: int) -> RequestError:
    """Return the error of a body over the limit."""
    return RequestError(f"the body is larger than {limit} bytes: send fewer rows in one request", status=413)
