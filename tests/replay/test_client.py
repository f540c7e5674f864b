"""The demo's caller against a real HTTP server that misbehaves."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everloop.errors import SystemError_, UsageError
from everloop.loop.client import Client
from everloop.loop.commands import CLOCK, finish, waiting
from everloop.replay.client import OverHttp
from everloop.store import Store
from everloop.types import Feedback

ANSWER = {
    "model_name": "toy", "model_version": "v1", "id": "id",
    "parameters": {"prediction_id": "id", "variant": "champion"},
    "outputs": [{"name": "prediction", "datatype": "FP64", "shape": [1], "data": [4.5]}],
}  # fmt: skip
MODEL = {
    "name": "toy", "versions": ["v1"], "platform": "onnx_onnxv1", "outputs": [],
    "inputs": [{"name": "a", "datatype": "FP64", "shape": [-1, 1]}],
}  # fmt: skip


class Site:
    """Answers each POST by the next of `behaviours`: a status, or `cut` (the connection ends without an answer)."""

    def __init__(self) -> None:
        self.behaviours: list[int | str] = []
        self.bodies: list[dict[str, Any]] = []
        self.generation: int | None = 1
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                site.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                behaviour = site.behaviours.pop(0) if site.behaviours else 200
                if behaviour == "cut":
                    self.close_connection = True
                    return
                answer = {"accepted": 1} if self.path.endswith("feedback") else ANSWER
                self._send(int(behaviour), answer if behaviour == 200 else {"error": f"told {behaviour}"})

            def do_GET(self) -> None:
                self._send(200, {"plan_generation": site.generation} if self.path == "/v2" else MODEL)

            def _send(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with contextlib.closing(Site()) as site:
        yield site


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(f"sqlite:///{tmp_path / 'store.db'}")) as store:
        yield store


@pytest.fixture
def caller(site: Site, store: Store) -> Iterator[OverHttp]:
    with contextlib.closing(Client(f"http://127.0.0.1:{site.server.server_port}", "toy")) as client:
        yield OverHttp(client, store)


def test_what_fails_on_the_way_is_sent_again_with_the_same_id(site: Site, caller: OverHttp) -> None:
    site.behaviours = ["cut", 503, "cut", 200]
    answer = caller.predict("the-id", 5.0, {"a": 1.5})
    assert answer is not None
    assert (answer.version, answer.outputs) == ("v1", {"prediction": [4.5]})
    assert [(b["id"], b["parameters"]) for b in site.bodies] == [("the-id", {"time": 5.0})] * 4
    assert (caller.sent, caller.failed, caller.repeated) == (1, 0, 3)


@pytest.mark.parametrize("status", [400, 404, 500])
def test_another_answer_is_a_failed_prediction(site: Site, caller: OverHttp, status: int) -> None:
    site.behaviours = [status]
    assert caller.predict("a", 5.0, {"a": 1.5}) is None
    assert caller.predict("b", 5.0, {"a": 1.5}) is not None
    assert (caller.sent, caller.failed, caller.repeated) == (2, 1, 0)
    assert f"told {status}" in caller.first_failure


def test_refused_labels_are_an_error(site: Site, caller: OverHttp) -> None:
    site.behaviours = [200, 400]
    caller.label([Feedback("a", 1.0, 5.0)])
    with pytest.raises(SystemError_, match=r"labels were refused: .*told 400"):
        caller.label([Feedback("b", 1.0, 5.0)])
    (sent,) = site.bodies[0]["feedback"]
    assert (sent["prediction"], sent["value"], sent["time"]) == ("a", 1.0, 5.0)


def test_waiting_ends_when_it_is_in_vain(store: Store) -> None:
    def check() -> None:
        raise SystemError_("the server keeps ending: no disk")

    with contextlib.closing(Client("http://127.0.0.1:9", "toy", check=check)) as client:
        with pytest.raises(SystemError_, match="keeps ending: no disk"):
            OverHttp(client, store, check).predict("a", 5.0, {"a": 1.5})


def test_a_server_that_is_away_for_long_is_told(store: Store) -> None:
    with contextlib.closing(Client("http://127.0.0.1:9", "toy", patience=0.05)) as client:
        with pytest.raises(
            SystemError_, match=r"the server at http://127\.0\.0\.1:9 does not answer \(Connection refused\): start it"
        ):
            OverHttp(client, store).predict("a", 5.0, {"a": 1.5})


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "https://host", "http://"])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="is no server: write it as http://HOST:PORT"):
        Client(url, "toy")


def test_time_moves_on_when_controller_and_server_have_followed(site: Site, store: Store, caller: OverHttp) -> None:
    site.generation = None
    moved = threading.Thread(target=caller.advance, args=(99.0,))
    moved.start()
    while not (events := waiting(store, CLOCK)):
        moved.join(0.005)
    assert [e.time for e in events] == [99.0]
    finish(store, events[0].id, {"generation": 7})
    moved.join(0.05)
    assert moved.is_alive()  # the server still follows the plan before
    site.generation = 7
    moved.join(10)
    assert not moved.is_alive()
