"""A small real server that speaks the part of Elasticsearch's API that is used here, and fails as it is told."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

TYPE = "application/vnd.elasticsearch+json; compatible-with=9"
PUT = ("/_index_template/", "/_ilm/policy/", "/_plugins/_ism/policies/")
Fault = str
"""`429`, `503`, `reset` (not taken), `cut` (taken, half of the answer is sent), `items` (every other item is 429).

`413` is about size: a chunk of one document passes.
"""


@dataclass
class Server:
    """What stands in the server, and how it will fail."""

    url: str = ""
    documents: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    put: dict[str, Any] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[int] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    largest: int = 10_000_000
    bad: Callable[[dict[str, Any]], bool] = lambda _: False
    product: str | None = "Elasticsearch"
    created: int = 0


@contextlib.contextmanager
def elastic_server(port: int = 0) -> Iterator[Server]:
    """Run one at a port of this machine."""
    server = Server()

    class Handler(_Handler):
        state = server

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

    with Quiet(("127.0.0.1", port), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: Server

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        state, path = self.state, self.path.partition("?")[0]
        state.keys.add(self.headers.get("Authorization", ""))
        if self.command == "PUT" and path.startswith(PUT):
            state.put[path] = json.loads(body)
            self._answer(200, {"acknowledged": True})
        elif path.endswith("/_bulk") and self.command in ("PUT", "POST"):
            self._bulk(body)
        else:
            self._refuse(400, "illegal_argument_exception", f"no handler found for uri [{path}]")

    def _bulk(self, body: bytes) -> None:
        state = self.state
        state.requests.append(len(body))
        large = len(body) > state.largest
        fault = state.faults.popleft() if state.faults and not large else ""
        if "x-ndjson" not in self.headers["Content-Type"]:
            self._refuse(406, "media_type_header_exception", "bulk bodies are x-ndjson")
        elif large or (fault == "413" and body.count(b"\n") > 2):
            self._answer(413, None)  # as the network layer does: no JSON
        elif fault == "reset":
            self.close_connection = True
            self.connection.close()
        elif fault in ("429", "503"):
            self._refuse(int(fault), "es_rejected_execution_exception", "rejected execution of coordinating operation")
        elif not body.endswith(b"\n"):
            self._refuse(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
        else:
            items = [self._item(*pair, fault == "items" and n % 2 == 1) for n, pair in enumerate(_pairs(body))]
            errors = any("error" in next(iter(item.values())) for item in items)
            self._answer(200, {"took": 1, "errors": errors, "items": items}, cut=fault == "cut")

    def _item(self, action: dict[str, Any], source: dict[str, Any], busy: bool) -> dict[str, Any]:
        (name, meta), state = next(iter(action.items())), self.state
        assert name in ("create", "index"), action
        key, told = (meta["_index"], meta["_id"]), {"_index": meta["_index"], "_id": meta["_id"]}
        if busy:
            error = ("es_rejected_execution_exception", "rejected execution of primary operation")
            return {name: {**told, "status": 429, "error": dict(zip(("type", "reason"), error, strict=True))}}
        if state.bad(source):
            error = ("document_parsing_exception", "[1:7] failed to parse field [everloop.inputs.x] of type [float]")
            return {name: {**told, "status": 400, "error": dict(zip(("type", "reason"), error, strict=True))}}
        there = key in state.documents
        if there and name == "create":
            error = ("version_conflict_engine_exception", f"[{key[1]}]: version conflict, document already exists")
            return {name: {**told, "status": 409, "error": dict(zip(("type", "reason"), error, strict=True))}}
        state.documents[key] = source
        state.created += not there
        return {name: {**told, "_version": 1, "result": "created", "status": 200 if there else 201}}

    def _refuse(self, status: int, kind: str, reason: str) -> None:
        cause = {"type": kind, "reason": reason}
        self._answer(status, {"error": {"root_cause": [cause], **cause}, "status": status})

    def _answer(self, status: int, told: Any, cut: bool = False) -> None:
        body = b"" if told is None else json.dumps(told).encode()
        self.send_response(status)
        if self.state.product is not None:
            self.send_header("X-Elastic-Product", self.state.product)
        asked = self.headers.get("Accept", "")
        self.send_header("Content-Type", TYPE if "vnd.elasticsearch" in asked else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _pairs(body: bytes) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    lines = [json.loads(line) for line in body.split(b"\n")[:-1]]
    yield from zip(lines[::2], lines[1::2], strict=True)
