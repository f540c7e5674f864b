"""The Open Inference Protocol over HTTP: a bare ASGI application in front of the plane.

GET   /v2   /v2/health/live   /v2/health/ready   /metrics
GET   /v2/models/{model}   /v2/models/{model}/ready           and the same under .../versions/{version}
POST  /v2/models/{model}/infer   /v2/models/{model}/explain   and the same under .../versions/{version}
POST  /v2/models/{model}/feedback                             changes state: may need a token
POST  /v2/repository/index   /v2/repository/models/{model}/load   .../unload                       likewise
GET   /openapi.json
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, NamedTuple

from everloop.errors import EverloopError, NotFoundError, RequestError
from everloop.serving.authorization import Authorization
from everloop.serving.binary import LENGTH_HEADER, decode_body, encode_body, wanted_binary
from everloop.serving.body import DisconnectedError, Message, Receive, discard, read_body, too_large
from everloop.serving.metrics import Metrics
from everloop.serving.openapi import document
from everloop.serving.plane import Context, Plane
from everloop.serving.protocol import decode_explain, decode_feedback, decode_repository, encode
from everloop.serving.repository import Repository

__all__ = ["HttpApp"]

_log = logging.getLogger("everloop.serving")
_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")
_OF_STATUS = {
    401: [(b"www-authenticate", b"Bearer")],
    413: [(b"connection", b"close")],
    503: [(b"retry-after", b"1")],
}

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """An answer before it is sent."""

    status: int
    body: bytes
    headers: Headers


class Target(NamedTuple):
    """What a path addresses: the method it takes, the part of the plane, and the model and version it names."""

    method: str
    part: str
    model: str = ""
    version: str | None = None


class MethodError(RequestError):
    """A path that is known, asked with a method that it does not take."""

    def __init__(self, method: str, target: Target, path: str) -> None:
        self.allow = target.method
        super().__init__(f"{path} takes {target.method}, not {method}", status=405)


class HttpApp:
    """The ASGI application; `status` gives the server's own metadata, `lifespan` surrounds its running."""

    def __init__(
        self,
        plane: Plane,
        repository: Repository,
        metrics: Metrics,
        status: Callable[[], dict[str, Any]],
        lifespan: Callable[[], AbstractAsyncContextManager[None]],
        max_body: int,
        token: str | None = None,
    ) -> None:
        self._plane, self._repository, self._metrics = plane, repository, metrics
        self._status, self._lifespan = status, lifespan
        self._max_body = max_body
        self._authorization = Authorization(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            reply = await self._reply(scope, receive)
        except DisconnectedError:
            return
        except Exception as error:
            reply = self._refusal(scope, error)
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        if reply.status == 413:
            await send({"type": "http.response.body", "body": reply.body, "more_body": True})
            await discard(receive)
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.body", "body": reply.body})

    async def infer(self, path: str, headers: Headers, body: bytes) -> Reply:
        """Answer a POST to a path that ends in `/infer`, whose body is there, without the ways of ASGI."""
        try:
            target = _target(path)
            if len(body) > self._max_body:
                raise too_large(self._max_body)
            return await self._inferred(target, _reader(headers), body)
        except Exception as error:
            return self._refusal({"method": "POST", "path": path}, error)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        path, method = scope["path"], scope["method"]
        target = _target(path)
        if method != target.method and (method != "HEAD" or target.method != "GET"):
            raise MethodError(method, target, path)
        if target.part == "infer":
            return await self._infer(target, scope["headers"], receive)
        if target.part == "explain":
            return await self._explain(target, scope["headers"], receive)
        if target.part == "feedback":
            return await self._feedback(target, scope["headers"], receive)
        if target.method == "POST":
            return await self._manage(target, scope["headers"], receive)
        return self._look(target, _reader(scope["headers"])("accept") or "")

    async def _infer(self, target: Target, headers: Headers, receive: Receive) -> Reply:
        header = _reader(headers)
        body = await read_body(receive, header("content-length"), self._max_body)
        return await self._inferred(target, header, body)

    async def _inferred(self, target: Target, header: Callable[[str], str | None], body: bytes) -> Reply:
        request = decode_body(body, header(LENGTH_HEADER))
        response = await self._plane.infer(request, Context(target.model, header, target.version))
        if binary := wanted_binary(request):
            content, length = encode_body(response, binary)
            return Reply(200, content, [_BINARY, _length(content), (LENGTH_HEADER.encode(), b"%d" % length)])
        return _json(200, encode(response))

    async def _explain(self, target: Target, headers: Headers, receive: Receive) -> Reply:
        body = await read_body(receive, _reader(headers)("content-length"), self._max_body)
        return _json(200, encode(await self._plane.explain(decode_explain(body), target.model, target.version)))

    async def _feedback(self, target: Target, headers: Headers, receive: Receive) -> Reply:
        header = _reader(headers)
        self._authorization.check(header("authorization"))
        body = await read_body(receive, header("content-length"), self._max_body)
        accepted = await self._plane.feedback(target.model, decode_feedback(body))
        return _json(200, encode({"accepted": accepted}))

    async def _manage(self, target: Target, headers: Headers, receive: Receive) -> Reply:
        header = _reader(headers)
        self._authorization.check(header("authorization"))
        request = decode_repository(await read_body(receive, header("content-length"), self._max_body))
        if target.part == "index":
            return _json(200, encode(self._repository.index(request.ready)))
        if target.part == "load":
            await self._repository.load(target.model)
        else:
            self._repository.unload(target.model)
        return _json(200, b"{}")

    def _look(self, target: Target, accept: str) -> Reply:
        if target.part == "live":
            return _json(200, b'{"live":true}')
        if target.part == "ready":
            ready = self._plane.ready(target.model or None, target.version)
            return _json(200 if ready else 503, b'{"ready":true}' if ready else b'{"ready":false}')
        if target.part == "model":
            return _json(200, encode(self._plane.metadata(target.model, target.version)))
        if target.part == "openapi":
            return _json(200, encode(document()))
        if target.part == "metrics":
            page, content_type = self._metrics.page(accept)
            return Reply(200, page, [(b"content-type", content_type.encode()), _length(page)])
        return _json(200, encode(self._status()))

    def _refusal(self, scope: Scope, error: Exception) -> Reply:
        """Translate an exception into the protocol's error; only our own carry their text outside."""
        if isinstance(error, EverloopError):
            status, text = error.http_status, str(error)
        else:
            status, text = 500, "the server failed; its log says why"
        if status == 500:
            _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        self._metrics.error(status)
        extra = _OF_STATUS.get(status, [])
        if isinstance(error, MethodError):
            extra = [(b"allow", error.allow.encode())]
        return _json(status, encode({"error": text}), extra)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        stage = "startup"
        try:
            async with self._lifespan():
                await send({"type": "lifespan.startup.complete"})
                stage = "shutdown"
                await receive()
        except Exception as error:
            _log.error("%s failed: %s", stage, error)
            await send({"type": f"lifespan.{stage}.failed", "message": str(error)})
        else:
            await send({"type": "lifespan.shutdown.complete"})


@lru_cache(256)
def _target(path: str) -> Target:
    """Return what a path addresses; raises `NotFoundError` for a path that is not the protocol's."""
    match path.split("/"):
        case ["", "v2", "models", model, "infer"]:
            return Target("POST", "infer", model)
        case ["", "v2", "models", model, "versions", version, "infer"]:
            return Target("POST", "infer", model, version)
        case ["", "v2", "models", model, "explain"]:
            return Target("POST", "explain", model)
        case ["", "v2", "models", model, "versions", version, "explain"]:
            return Target("POST", "explain", model, version)
        case ["", "v2", "models", model, "feedback"]:
            return Target("POST", "feedback", model)
        case ["", "v2", "models", model]:
            return Target("GET", "model", model)
        case ["", "v2", "models", model, "ready"]:
            return Target("GET", "ready", model)
        case ["", "v2", "models", model, "versions", version]:
            return Target("GET", "model", model, version)
        case ["", "v2", "models", model, "versions", version, "ready"]:
            return Target("GET", "ready", model, version)
        case ["", "v2", "repository", "index"]:
            return Target("POST", "index")
        case ["", "v2", "repository", "models", model, "load" | "unload" as part]:
            return Target("POST", part, model)
        case ["", "openapi.json"]:
            return Target("GET", "openapi")
        case ["", "v2", "health", "live" | "ready" as part]:
            return Target("GET", part)
        case ["", "v2"]:
            return Target("GET", "server")
        case ["", "metrics"]:
            return Target("GET", "metrics")
    raise NotFoundError("path", path[:80], ("/v2", "/v2/health/live", "/v2/health/ready", "/metrics", "/openapi.json"))


def _reader(headers: Headers) -> Callable[[str], str | None]:
    """Return what looks a header up, the first of its name."""
    known = dict(reversed(headers))

    def header(name: str) -> str | None:
        value = known.get(name.encode(errors="replace"))
        return None if value is None else value.decode("latin-1")

    return header


def _json(status: int, body: bytes, extra: Headers | None = None) -> Reply:
    return Reply(status, body, [_JSON, _length(body), *(extra or ())])


def _length(body: bytes) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % len(body))
