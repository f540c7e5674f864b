"""Elasticsearch: every row is there or among the dead letters, once, whatever the server does meanwhile."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.elastic import Server, elastic_server
from tests.shippers.sites import free_port

from everloop.journal import Writer
from everloop.shippers import Outbox, Shipper
from everloop.shippers.dead_letters import DeadLetters
from everloop.shippers.documents import Document
from everloop.shippers.elastic import Bulk, ElasticTarget
from everloop.shippers.journal_shipper import JournalShipper
from everloop.shippers.outbox import UnreachableError
from everloop.shippers.search_clients import connect
from everloop.store import Store, outbox
from everloop.types import Explanation, Feedback, Prediction

TIME = 1_700_000_000.0
PRODUCT: list[Literal["elasticsearch", "opensearch"]] = ["elasticsearch"]


@pytest.fixture(autouse=True, params=["elasticsearch", "opensearch"])
def product(request: pytest.FixtureRequest) -> Iterator[str]:
    """What is said of one real client is said of the other."""
    PRODUCT[0] = request.param
    yield request.param
    PRODUCT[0] = "elasticsearch"


def prediction(id: str, rows: int = 1, value: float = 0.0, **more: Any) -> tuple[str, str, float, bytes]:
    inputs, outputs = {"x": [value + n for n in range(rows)]}, {"y": [1.0] * rows}
    found = Prediction(model="toy", version="v1", inputs=inputs, outputs=outputs, **more)
    return "prediction", id, TIME, msgspec.json.encode(found)


def write(folder: Path, *records: tuple[str, str, float, bytes]) -> None:
    with contextlib.closing(Writer(folder)) as writer:
        for record in records:
            writer.append(*record)
        writer.flush()


def shipper(server: str, folder: Path, waits: list[float] | None = None, size: int = 5_000_000) -> JournalShipper:
    def bulk() -> Bulk:
        wait = (waits if waits is not None else []).append
        return Bulk(connect(server, server=PRODUCT[0]), wait, size, letters=DeadLetters(folder / "dead.jsonl"))

    return JournalShipper(folder / "journal", folder / "offsets", "everloop", "toy", bulk)


def letters(folder: Path) -> list[dict[str, Any]]:
    path = folder / "dead.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ship(one: JournalShipper, most: int = 100) -> None:
    for _ in range(most):
        if not one.waiting():
            return
        one.step()
    raise AssertionError(f"{one.waiting()} bytes are left: {one.trouble}")


def test_a_prediction_is_a_document_a_row(tmp_path: Path) -> None:
    flags = {"schema": {"x": [1]}, "outlier": {"rows": [0], "scores": [9.0]}, "unknown_categories": {"x": [1.0]}}
    label = Feedback("p1", 3.5, TIME, 1)
    why = Explanation("v1", [{"row": 0, "base": 1.0}], {"background": 32})
    records = (
        prediction("p1", 2, flags=flags),
        ("feedback", "p1", TIME, msgspec.json.encode(label)),
        ("feedback", "p1", TIME, msgspec.json.encode(label)),
        ("feedback", "p1", TIME, msgspec.json.encode(Feedback("p1", "many", TIME, 0))),
        ("explanation", "p1", TIME, msgspec.json.encode(why)),
    )
    write(tmp_path / "journal", *records)
    with elastic_server() as server:
        ship(shipper(server.url, tmp_path))
    rows = [d["everloop"] for (index, _), d in server.documents.items() if index == "everloop-predictions-2023.11"]
    assert [(r["row"], r["inputs"], r["flags"]) for r in rows] == [
        (0, {"x": 0.0}, ["outlier"]), (1, {"x": 1.0}, ["schema", "unknown_categories"]),
    ]  # fmt: skip
    labels = [d["everloop"] for (index, _), d in server.documents.items() if "-feedback-" in index]
    assert [(d["row"], d.get("value"), d.get("text")) for d in labels] == [(1, 3.5, None), (0, None, "many")]
    assert [i for i, _ in server.documents if "explanations" in i] == ["everloop-explanations-2023.11"]
    assert {d["@timestamp"] for d in server.documents.values()} == {"2023-11-14T22:13:20Z"}
    assert letters(tmp_path) == []


@given(
    faults=st.lists(st.sampled_from(["429", "503", "413", "cut", "reset", "items", ""]), max_size=14),
    rows=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    bad=st.sets(st.integers(0, 7)),
    size=st.sampled_from([1, 900, 5_000_000]),
    turns=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_row_is_there_or_a_dead_letter_once(
    faults: list[str], rows: list[int], bad: set[int], size: int, turns: int
) -> None:
    with tempfile.TemporaryDirectory() as place, elastic_server() as server:
        folder = Path(place)
        write(folder / "journal", *(prediction(f"p{n}", count, 100.0 * n) for n, count in enumerate(rows)))
        server.faults.extend(faults)
        server.bad = lambda source: int(source["everloop"]["inputs"]["x"] // 100) in bad
        for _ in range(turns):
            shipper(server.url, folder, size=size).step()  # a process that ends, and one that goes on
        ship(shipper(server.url, folder, size=size))
        ids = [id for _, id in server.documents]
        dead = [letter["id"] for letter in letters(folder)]
        assert sorted(ids + dead) == sorted(f"toy/predictions/p{n}/{r}" for n, c in enumerate(rows) for r in range(c))
        assert {int(id.split("/")[2][1:]) for id in dead} == bad & set(range(len(rows)))


def test_a_chunk_that_is_too_large_is_split_and_waits_grow(tmp_path: Path) -> None:
    write(tmp_path / "journal", *(prediction(f"p{n}", 1) for n in range(64)))
    waits: list[float] = []
    with elastic_server() as server:
        server.largest = 4000
        server.faults.extend(["429", "503", "reset"])
        ship(shipper(server.url, tmp_path, waits))
        assert waits == [0.5, 1.0, 2.0]
        assert len(server.documents) == server.created == 64
        write(tmp_path / "journal", prediction("huge", 1, why="x" * 5000), prediction("last"))
        ship(shipper(server.url, tmp_path))
        assert len(server.documents) == 65
    assert [(d["id"], d["reason"][:3]) for d in letters(tmp_path)] == [("toy/predictions/huge/0", "413")]


def test_an_outage_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    write(tmp_path / "journal", *(prediction(f"p{n}", 2) for n in range(10)))
    one = shipper(f"http://127.0.0.1:{port}", tmp_path)
    assert one.ready()
    assert one.step() == 0
    assert "ConnectionError" in one.trouble
    assert not one.ready()  # it waits before it tries again
    with elastic_server(port) as server:
        ship(one)
        assert (len(server.documents), one.trouble) == (20, "")


def test_what_a_person_mends_is_kept_and_said(tmp_path: Path, product: str) -> None:
    if product == "opensearch":
        pytest.skip("its client takes any server")
    write(tmp_path / "journal", prediction("p1"))
    with elastic_server() as server:
        server.product = None  # as OpenSearch answers
        one = shipper(server.url, tmp_path)
        assert one.step() == 0
        assert "not Elasticsearch" in one.trouble
        server.product = "Elasticsearch"
        ship(one)
        assert len(server.documents) == 1


def test_a_damaged_payload_is_a_dead_letter(tmp_path: Path) -> None:
    write(tmp_path / "journal", ("prediction", "p1", TIME, b'{"model":1}'), prediction("p2"))
    with elastic_server() as server:
        one = shipper(server.url, tmp_path)
        ship(one)
        assert [id for _, id in server.documents] == ["toy/predictions/p2/0"]
    assert [(d["id"], d["document"]) for d in letters(tmp_path)] == [("toy/prediction/1", {"model": 1})]
    assert one.refused == 1


def test_a_letter_that_a_crash_cut_off_is_written_again(tmp_path: Path) -> None:
    write(tmp_path / "journal", prediction("p1"))
    (tmp_path / "dead.jsonl").write_bytes(b'{"index":"everl')
    with elastic_server() as server:
        server.bad = lambda _: True
        ship(shipper(server.url, tmp_path))
    assert [d["id"] for d in letters(tmp_path)] == ["toy/predictions/p1/0"]


def test_changes_of_the_store_go_there_once(tmp_path: Path) -> None:
    with contextlib.closing(Store("sqlite:///store.db", tmp_path)) as store, elastic_server() as server:
        with store.begin() as connection:
            for kind in ("decision", "alias", "run"):
                connection.execute(outbox.insert().values(kind=kind, time=TIME, payload={"id": kind}))
        server.bad = lambda source: source["everloop"]["change"] == "alias"

        def target() -> ElasticTarget:
            return ElasticTarget(
                Bulk(connect(server.url, "me:c2VjcmV0", PRODUCT[0]), lambda _: None), "everloop", "toy"
            )

        reader = Outbox(store, "elastic")
        for _ in range(2):
            one = Shipper("Elasticsearch", reader, ElasticTarget.kinds, target)
            while one.ready():
                one.step()
            reader.restart()
        assert [id for _, id in server.documents] == ["toy/changes/decision/1", "toy/changes/run/3"]
        assert server.created == 2
        own = "Basic " + base64.b64encode(b"me:c2VjcmV0").decode()
        assert server.keys == {"ApiKey me:c2VjcmV0" if PRODUCT[0] == "elasticsearch" else own}


def test_a_server_that_stays_busy_is_unreachable() -> None:
    waits: list[float] = []
    with elastic_server() as server:
        server.faults.extend(["503"] * 5)
        with pytest.raises(UnreachableError, match="503"):
            Bulk(connect(server.url, server=PRODUCT[0]), waits.append).send([Document("i", "1", b"{}")])
        assert (waits, server.documents) == ([0.5, 1.0, 2.0, 4.0], {})


KILLED = """
import sys
from collections.abc import Iterator
from pathlib import Path
from tests.shippers.test_elastic import shipper
from everloop.shippers import journal_shipper
journal_shipper.TURN = 20
one = shipper(sys.argv[1], Path(sys.argv[2]), size=3000)
print("begins", flush=True)
while one.waiting():
    one.step()
"""


@pytest.mark.slow
def test_a_shipper_that_is_killed_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "journal", *(prediction(f"p{n}", 2, 100.0 * n) for n in range(1500)))
    with elastic_server() as server:
        server.bad = lambda source: int(source["everloop"]["inputs"]["x"] // 100) % 50 == 7
        kills = 0
        for more in (50, 400, 900, 1500, 2200):
            kills += _killed_at(server, tmp_path, more)
        ship(shipper(server.url, tmp_path))
        assert kills >= 3
        ids = [id for _, id in server.documents] + [d["id"] for d in letters(tmp_path)]
        assert sorted(ids) == sorted(f"toy/predictions/p{n}/{r}" for n in range(1500) for r in (0, 1))
        assert len(letters(tmp_path)) == 60


def _killed_at(server: Server, folder: Path, count: int) -> bool:
    """Let a process ship until that many documents are there, kill it, and tell whether it was still at work."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen((sys.executable, "-c", KILLED, server.url, str(folder)), cwd=root)
    deadline = time.monotonic() + 60
    while process.poll() is None and len(server.documents) < count and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    process.kill()
    return process.wait() == -signal.SIGKILL
