"""The loop's door: its metrics to Prometheus, and what others tell it into the store as events, each once.

GET  /metrics  /health
POST /events   /webhooks/github  /webhooks/gitlab  /webhooks/alertmanager  /webhooks/s3
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import choose_encoder

from everloop.errors import EverloopError, NotFoundError, RequestError
from everloop.loop import notices
from everloop.loop.commands import post
from everloop.loop.metrics import LoopMetrics
from everloop.loop.workspace import Workspace, opened
from everloop.serving.body import DisconnectedError, Message, Receive, discard, read_body
from everloop.settings import Events, size
from everloop.types import Event

__all__ = ["EventsApp", "run_events"]

_log = logging.getLogger("everloop.loop")
_GET = ("/metrics", "/health")
_POST: dict[str, Callable[[bytes, notices.Header, float], list[Event]]] = {
    "/events": notices.cloud_events,
    "/webhooks/github": notices.github,
    "/webhooks/gitlab": notices.gitlab,
    "/webhooks/alertmanager": notices.alertmanager,
    "/webhooks/s3": notices.s3,
}

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def run_events(folder: Path) -> None:
    """Keep the door of the project in `folder` open until SIGTERM or SIGINT; prints `events URL` once it is."""
    from everloop.serving.server import bind, run  # uvicorn takes longer to import than all of the rest

    with opened(folder) as workspace:
        workspace.log_as("events")
        events = workspace.settings.events
        with bind(events.host, events.port, "[events] port in everloop.toml") as listener:
            app = EventsApp(workspace, os.environ)
            run(app, listener, lambda url: print(f"events {url}", flush=True))


class EventsApp:
    """The ASGI application; secrets are read from the environment variables that `[events]` names."""

    def __init__(
        self, workspace: Workspace, environment: Mapping[str, str], clock: Callable[[], float] = time.time
    ) -> None:
        self._workspace, self._clock = workspace, clock
        self._secrets = Secrets(workspace.settings.events, environment)
        self._max_body = size(workspace.settings.events.max_body)
        self.registry, self._reading = CollectorRegistry(), asyncio.Lock()
        self.registry.register(LoopMetrics(workspace))
        told = "Notices that the door refused."
        self.refused = Counter("everloop_events_refused", told, ("status",), registry=self.registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        kind = b"application/json"
        try:
            status, body, kind = await self._reply(scope, receive)
        except DisconnectedError:
            return
        except Exception as error:
            status, body = self._refusal(scope, error)
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        if status == 413:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": status == 413})
        if status == 413:
            await discard(receive)
            await send({"type": "http.response.body", "body": b""})

    async def _reply(self, scope: Scope, receive: Receive) -> tuple[int, bytes, bytes]:
        path, header = scope["path"], _reader(scope["headers"])
        expected = "POST" if path in _POST else "GET" if path in _GET else None
        if expected is None:
            raise NotFoundError("path", path[:80], (*_GET, *_POST))
        if scope["method"] != expected:
            raise RequestError(f"{path} takes {expected}, not {scope['method']}", 405)
        if path == "/health":
            return 200, b'{"healthy":true}', b"application/json"
        if path == "/metrics":
            return await self._metrics(header("accept") or "")
        self._secrets.check_before(path, header)
        body = await read_body(receive, header("content-length"), self._max_body)
        self._secrets.check_body(path, header, body)
        events = _POST[path](body, header, self._clock())
        for event in events:
            await asyncio.to_thread(post, self._workspace.store, event)
        return 202, msgspec.json.encode({"events": [event.id for event in events]}), b"application/json"

    async def _metrics(self, accept: str) -> tuple[int, bytes, bytes]:
        encode, kind = choose_encoder(accept)
        async with self._reading:  # scrapers that come together do not read the store together
            return 200, await asyncio.to_thread(encode, self.registry), kind.encode()

    def _refusal(self, scope: Scope, error: Exception) -> tuple[int, bytes]:
        status, text = 500, "the door failed; its log says why"
        if isinstance(error, EverloopError):
            status, text = error.http_status, str(error)
        if status == 413:
            text = f"the body is larger than {self._max_body} bytes: [events] max_body allows more"
        if status == 500:
            _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        self.refused.labels(str(status)).inc()
        return status, msgspec.json.encode({"error": text})


class Secrets:
    """Who may tell the loop something: whoever shows the secret of an environment variable that `[events]` names."""

    def __init__(self, events: Events, environment: Mapping[str, str]) -> None:
        names = {"/webhooks/github": events.github_secret, "/webhooks/gitlab": events.gitlab_secret}
        self._names = {path: names.get(path, events.token) for path in _POST}
        self._values = {path: environment.get(name, "") for path, name in self._names.items()}

    def check_before(self, path: str, header: notices.Header) -> None:
        """Raise `RequestError` of status 403 where no secret is set, 401 for a wrong token; before a body is read."""
        if not self._values[path]:
            name = self._names[path]
            raise RequestError(f"{path} is closed: set the environment variable {name} to the sender's secret", 403)
        if path == "/webhooks/gitlab":
            self._compare(header("x-gitlab-token"), self._values[path], "X-Gitlab-Token is not the secret")
        elif path != "/webhooks/github":
            told = "send the token of the events door as 'Authorization: Bearer TOKEN'"
            self._compare(header("authorization"), f"Bearer {self._values[path]}", told)

    def check_body(self, path: str, header: notices.Header, body: bytes) -> None:
        """Raise `RequestError` of status 401 for a body whose signature is wrong."""
        if path == "/webhooks/github":
            signature = hmac.new(self._values[path].encode(), body, hashlib.sha256).hexdigest()
            told = "X-Hub-Signature-256 is not the body's signature by the secret"
            self._compare(header("x-hub-signature-256"), f"sha256={signature}", told)

    def _compare(self, given: str | None, expected: str, told: str) -> None:
        if given is None or not hmac.compare_digest(given.encode("latin-1"), expected.encode()):
            raise RequestError(told, 401)


def _reader(headers: list[tuple[bytes, bytes]]) -> notices.Header:
    known = {name.lower(): value for name, value in reversed(headers)}

    def header(name: str) -> str | None:
        value = known.get(name.encode())
        return None if value is None else value.decode("latin-1")

    return header


async def _live(receive: Receive, send: Send) -> None:
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})
