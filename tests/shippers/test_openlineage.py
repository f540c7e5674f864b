"""OpenLineage: what is sent is what its own client accepts, once to a file, once over HTTP."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everloop.pipelines import ArtifactStore, Engine, LocalExecutor, pipeline, step
from everloop.pipelines.history import runs_of
from everloop.shippers import Outbox, Shipper
from everloop.shippers.openlineage import OpenLineageTarget, client_of
from everloop.shippers.outbox import Entry, UnreachableError
from everloop.store import Store


@step
def read(count: int) -> list[int]:
    return list(range(count))


@step
def add(numbers: list[int]) -> int:
    if len(numbers) > 3:
        raise ValueError("too many")
    return sum(numbers)


@pipeline
def total(count: int) -> int:
    return add(read(count))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store("sqlite:///store.db", tmp_path)
    artifacts = ArtifactStore("artifacts", tmp_path)
    engine = Engine(store, artifacts, LocalExecutor(artifacts), tmp_path, lambda: 1_700_000_000.0)
    engine.run(total, {"count": 3}, run_id="r1", commit="abc")
    with pytest.raises(Exception, match="too many"):
        engine.run(total, {"count": 5}, run_id="r2")
    yield store
    store.close()


def shipped(store: Store, place: str) -> None:
    def read_run(run: str) -> Any:
        return next(iter(runs_of(store, run)), None)

    def target() -> OpenLineageTarget:
        return OpenLineageTarget(client_of(place), "bikes", "file:///artifacts", read_run)

    shipper = Shipper("OpenLineage", Outbox(store, "openlineage"), OpenLineageTarget.kinds, target)
    while shipper.ready():
        shipper.step()


def check(events: list[dict[str, Any]]) -> None:
    jobs = [(e["job"]["name"], e["eventType"]) for e in events]
    assert jobs[:2] == [("total", "START"), ("total", "START")]  # told at its beginning, then whole
    assert jobs[2:7] == [
        ("total.read", "START"), ("total.read", "COMPLETE"), ("total.add", "START"), ("total.add", "COMPLETE"),
        ("total", "COMPLETE"),
    ]  # fmt: skip
    assert jobs[-2:] == [("total.add", "FAIL"), ("total", "FAIL")]
    made, taken = events[3]["outputs"][0], events[5]["inputs"][0]
    assert (made["name"], made["namespace"]) == ("total.read.return", "file:///artifacts")
    assert (taken["name"], taken["facets"]["version"]) == (made["name"], made["facets"]["version"])
    assert events[3]["run"]["facets"]["parent"]["run"]["runId"] == events[0]["run"]["runId"]
    assert events[0]["job"]["facets"]["sourceCodeLocation"]["version"] == "abc"
    assert "too many" in events[-1]["run"]["facets"]["errorMessage"]["message"]
    assert len({e["run"]["runId"] for e in events if e["job"]["name"] == "total"}) == 2
    assert {e["eventTime"] for e in events} == {"2023-11-14T22:13:20+00:00"}


def test_a_file_takes_a_line_an_event(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    shipped(store, str(file))
    check([json.loads(line) for line in file.read_text().splitlines()])


def test_an_api_takes_them_by_http(store: Store) -> None:
    taken: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/v1/lineage"
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        shipped(store, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    check(taken)


def test_one_that_is_down_is_said(store: Store) -> None:
    target = OpenLineageTarget(
        client_of("http://127.0.0.1:1"), "bikes", "file:///a", lambda run: next(iter(runs_of(store, run)))
    )
    entry = Entry(1, "run", 0.0, {"id": "r1", "status": "finished"})
    with pytest.raises(UnreachableError, match="OpenLineage does not take events"):
        target.take(entry)
