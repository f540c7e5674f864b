"""A small server that speaks the part of GitHub's API that comments need, and remembers them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "token-of-the-job"


class PullRequests:
    """Which pull request brought which commit, and what is written there."""

    def __init__(self) -> None:
        self.pulls: dict[str, int] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.url = ""

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Return status and content of a request below /repos/team/bikes."""
        match path.strip("/").split("/"):
            case ["repos", "team", "bikes", "commits", commit, "pulls"] if method == "GET":
                return 200, [{"number": self.pulls[commit]}] if commit in self.pulls else []
            case ["repos", "team", "bikes", "issues", "comments", id] if method == "PATCH":
                found = next(one for of in self.comments.values() for one in of if one["id"] == int(id))
                found["body"] = body["body"]
                return 200, found
            case ["repos", "team", "bikes", "issues", number, "comments"]:
                there = self.comments.setdefault(int(number), [])
                if method == "GET":
                    return 200, there
                count = sum(len(of) for of in self.comments.values()) + 1
                there.append({"id": count, "body": body["body"], "html_url": f"https://github.test/{number}#{count}"})
                return 201, there[-1]
        return 404, {"message": "Not Found"}


@contextlib.contextmanager
def pull_requests() -> Iterator[PullRequests]:
    """Run the server on a free port of this machine."""
    state = PullRequests()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            path, _, query = self.path.partition("?")
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            state.asked.append(f"{self.command} {path}")
            status, told = 401, {"message": "Bad credentials"}
            if self.headers.get("authorization") == f"Bearer {TOKEN}":
                status, told = state.answer(self.command, path, json.loads(content or b"{}"))
            if isinstance(told, list) and "page=" in query:
                page = int(query.rpartition("page=")[2])
                told = told[(page - 1) * 100 : page * 100]
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _answer

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
