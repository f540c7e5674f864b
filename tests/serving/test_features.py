"""What a request leaves out is looked up, journalled and answered by; what a store does wrong is no model's failure."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from tests.serving.sites import Site, Start, named, open_plane, read_journal, rides_plan

from everloop.errors import DataError, RequestError, SystemError_, UsageError
from everloop.loop.client import Client
from everloop.loop.tables import predict_rows
from everloop.serving.features import OnlineFeatures
from everloop.serving.metrics import Metrics
from everloop.serving.options import Lookup, ServeOptions, check_options
from everloop.serving.plane import Context
from everloop.serving.protocol import ExplainRequest, InferRequest, InferResponse, Tensor
from everloop.settings import Features
from everloop.types import Column, Prediction

WEATHER = ("weather:temp", "weather:hum")
NO_HEADERS: dict[str, str] = {}
AT_A_TIME = {"parameters": {"time": 100.0}}
KNOWN = {"Bonn": {"temp": 0.5, "hum": 0.25}, "Oslo": {"temp": -0.5, "hum": 0.5}}
WORDS = b"""{"metadata": {"feature_names": ["temp", "hum"]}, "results": [
    {"values": ["mild"], "statuses": ["PRESENT"]}, {"values": [0.5], "statuses": ["PRESENT"]}]}"""
Answer = Callable[[dict[str, Any]], tuple[int, bytes]]


@contextlib.contextmanager
def store(answer: Answer, asked: list[dict[str, Any]], closes: bool = False) -> Iterator[str]:
    """Give the URL of a server that keeps connections; `closes` ends each after its answer without saying so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append(body | {"path": self.path, "from": self.client_address, "auth": self.headers["authorization"]})
            status, content = answer(body)
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = closes

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def as_feast(body: dict[str, Any]) -> tuple[int, bytes]:
    names = [feature.partition(":")[2] for feature in body["features"]]
    stations = body["entities"]["station"]
    values = [[KNOWN.get(s, {}).get(name) for s in stations] for name in names]
    results = [{"values": stations, "statuses": ["PRESENT"] * len(stations)}]
    results += [{"values": v, "statuses": ["NOT_FOUND" if one is None else "PRESENT" for one in v]} for v in values]
    return 200, json.dumps({"metadata": {"feature_names": ["station", *names]}, "results": results}).encode()


def body(*stations: str, **also: list[float]) -> dict[str, Any]:
    rows = [len(stations)]
    columns = {"hour": [1.0] * len(stations)} | also
    inputs: list[dict[str, Any]] = [
        {"name": name, "shape": rows, "datatype": "FP64", "data": values} for name, values in columns.items()
    ]
    inputs.append({"name": "station", "shape": rows, "datatype": "BYTES", "data": list(stations)})
    return {"inputs": inputs, "parameters": {"time": 100.0}}


class Asked:
    """A plane that looks features up, and what it counted."""

    def __init__(self, site: Site) -> None:
        self.site, self.metrics = site, Metrics()

    async def __call__(self, url: str, *requests: dict[str, Any], **lookup: Any) -> list[InferResponse]:
        told = Lookup(url, WEATHER, ("station",), **lookup)
        features = OnlineFeatures(told, self.metrics.lookups.observe, self.metrics.lookup_errors.inc)
        async with open_plane(self.site, metrics=self.metrics, features=features) as plane:
            await plane.take(rides_plan(1))
            context = Context("rides", NO_HEADERS.get)
            try:
                return [await plane.infer(msgspec.convert(one, InferRequest), context) for one in requests]
            finally:
                features.close()

    @property
    def page(self) -> str:
        return self.metrics.page()[0].decode()


@pytest.fixture
def asked(site: Site) -> Asked:
    return Asked(site)


@pytest.mark.asyncio
async def test_what_is_left_out_is_looked_up_by_its_keys_and_journalled(asked: Asked) -> None:
    seen: list[dict[str, Any]] = []
    with store(as_feast, seen) as url:
        first, second = await asked(url, body("Bonn", "Oslo"), body("Oslo"), token="let me")
    assert [a.outputs[0].data for a in (first, second)] == [[1.75, 1.0], [1.0]]
    records = [r.read(Prediction).inputs for r in read_journal(asked.site.journal)]
    assert records[0] == {"hour": [1.0, 1.0], "temp": [0.5, -0.5], "hum": [0.25, 0.5]}
    assert (seen[0]["features"], seen[0]["entities"]) == (list(WEATHER), {"station": ["Bonn", "Oslo"]})
    assert {(one["path"], one["auth"]) for one in seen} == {("/get-online-features", "Bearer let me")}
    assert "everloop_feature_lookup_seconds_count 2.0" in asked.page


@pytest.mark.asyncio
async def test_what_a_request_brings_is_not_looked_up(asked: Asked) -> None:
    seen: list[dict[str, Any]] = []
    with store(as_feast, seen) as url:
        whole, part, none = await asked(
            url, named(1.0, **AT_A_TIME), body("Bonn", temp=[9.0]), body("Bonn", temp=[1.0], hum=[1.0])
        )
    assert [a.outputs[0].data for a in (whole, part, none)] == [[1.75], [10.25], [3.0]]
    assert [one["features"] for one in seen] == [["weather:hum"]]


@pytest.mark.asyncio
async def test_a_value_that_the_store_does_not_know_is_missing(asked: Asked) -> None:
    with store(as_feast, []) as url:
        (answer,) = await asked(url, body("Bonn", "Rome"))
    (record,) = read_journal(asked.site.journal)
    assert record.read(Prediction).inputs["temp"] == [0.5, None]
    assert answer.outputs[0].data[0] == 1.75


@pytest.mark.asyncio
async def test_a_column_that_cannot_be_missing_has_to_be_sent() -> None:
    def late(_: dict[str, Any]) -> tuple[int, bytes]:
        found = {"values": [3], "statuses": ["OUTSIDE_MAX_AGE"]}
        return 200, json.dumps({"metadata": {"feature_names": ["bikes"]}, "results": [found]}).encode()

    station = Tensor("station", [1], "BYTES", ["Bonn"])
    with store(late, []) as url:
        features = OnlineFeatures(Lookup(url, ("docks:bikes",), ("station",)), lambda _: None, lambda: None)
        with pytest.raises(RequestError, match="row 0: the feature store knows no 'bikes' of station = 'Bonn'"):
            await features.complete([station], [Column("bikes", "int64")])
        (found,) = await features.complete([station], [Column("bikes", "string")])
        features.close()
    assert (found.datatype, found.data) == ("BYTES", [""])


@pytest.mark.asyncio
async def test_without_its_key_nothing_can_be_looked_up(asked: Asked) -> None:
    lacking = named(1.0, **AT_A_TIME)
    lacking["inputs"].pop()
    with store(as_feast, []) as url, pytest.raises(RequestError, match="missing tensor 'station', which 'hum' is"):
        await asked(url, lacking)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"data": ["Bonn"], "shape": [2]}, "tensor 'station' has shape [2] and 1 values"),
        ({"data": ["Bonn", "Oslo"], "shape": [2]}, "tensor 'hour' has shape [1], tensor 'station' has 2 rows"),
        ({"data": ["Bonn", "Oslo"], "shape": [1, 2]}, "send [rows] or [rows, 1]"),
        ({"data": [], "shape": []}, "tensor 'station' has shape []"),
        ({"data": [None], "shape": [1]}, "tensor 'station', value 0: None is no BYTES"),
        ({"data": [None], "shape": [1], "datatype": "INT64"}, "value 0: nothing is looked up by None: send 'temp'"),
        ({"data": ["Bonn"], "shape": [1], "datatype": "TEXT"}, "tensor 'station' has unknown datatype 'TEXT'"),
    ],
)
async def test_keys_that_fit_no_rows_are_the_callers_mistake(asked: Asked, wrong: dict[str, Any], told: str) -> None:
    given, seen = body("Bonn"), list[dict[str, Any]]()
    given["inputs"][-1] |= wrong
    with store(as_feast, seen) as url, pytest.raises(RequestError, match=re.escape(told)):
        await asked(url, given)
    assert seen == []
    assert "everloop_feature_lookup_errors_total 0.0" in asked.page


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((500, b"no such view"), "status 500, no such view"),
        ((200, b"<html>"), "JSON is malformed"),
        ((200, b'{"metadata": {"feature_names": []}, "results": []}'), "gave no 'temp' for 1 rows"),
        ((200, WORDS), "gave what the model does not take: tensor 'temp', value 0: 'mild' is no FP64"),
    ],
)
async def test_a_store_that_does_wrong_is_named_and_no_version_fails(
    asked: Asked, answer: tuple[int, bytes], told: str
) -> None:
    with store(lambda _: answer, []) as url, pytest.raises(SystemError_, match=f"the feature store at {url} .*{told}"):
        await asked(url, body("Bonn"))
    assert read_journal(asked.site.journal) == []
    assert "everloop_feature_lookup_errors_total 1.0" in asked.page


@pytest.mark.asyncio
async def test_a_store_that_is_slow_or_gone_is_not_waited_for(asked: Asked) -> None:
    free = threading.Event()

    def slow(_: dict[str, Any]) -> tuple[int, bytes]:
        free.wait(10)
        return 200, b""

    with store(slow, []) as url:
        with pytest.raises(SystemError_, match="gave no features"):
            await asked(url, body("Bonn"), seconds=0.05)
        free.set()
    for gone in (url, "http://a..b"):
        with pytest.raises(SystemError_, match="gave no features"):
            await asked(gone, body("Bonn"))


@pytest.mark.asyncio
async def test_a_connection_that_was_closed_meanwhile_is_opened_again(asked: Asked) -> None:
    seen: list[dict[str, Any]] = []
    with store(as_feast, seen, closes=True) as url:
        answers = await asked(url, *[body("Bonn")] * 20)
    assert {tuple(a.outputs[0].data) for a in answers} == {(1.75,)}
    assert len(seen) == 20


@pytest.mark.asyncio
async def test_an_explanation_looks_up_too(site: Site) -> None:
    with store(as_feast, []) as url:
        features = OnlineFeatures(Lookup(url, WEATHER, ("station",)), lambda _: None, lambda: None)
        async with open_plane(site, features=features) as plane:
            await plane.take(rides_plan(1))
            given = msgspec.convert({"inputs": body("Bonn")["inputs"]}, ExplainRequest)
            found = await plane.explain(given, "rides")
            features.close()
    assert set(found.explanations[0]["values"]) == {"hour", "temp", "hum"}


@pytest.mark.parametrize(
    ("lookup", "told"),
    [
        (Lookup("http://localhost", ("a:b",), ()), "needs its URL, the features that are looked up and the keys"),
        (Lookup("http://localhost:port", ("a:b",), ("k",)), "needs its URL"),
        (Lookup("http://:6566", ("a:b",), ("k",)), "needs its URL"),
        (Lookup("http://localhost", ("a:b", "c:b"), ("k",)), "two features of the online store are called 'b'"),
        (Lookup("http://localhost", ("a:b",), ("k",), token="two\nlines"), "a token must be one line of printable"),
    ],
)
def test_a_store_that_cannot_be_asked_is_refused_at_the_start(lookup: Lookup, told: str) -> None:
    options = ServeOptions(plan=Path("p"), journal=Path("j"), keys=Path("k"), features=lookup)
    with pytest.raises(UsageError, match=told):
        check_options(options)
    check_options(msgspec.structs.replace(options, features=Lookup("http://[::1]:6566/x", ("a:b",), ("k",))))


def test_a_table_is_sent_with_keys_in_place_of_features(site: Site, start: Start, tmp_path: Path) -> None:
    site.write(1)
    (tmp_path / "token").write_text("let me\n")
    online, asked = Features(url="http://store", features=WEATHER, keys=("station",)), list[dict[str, Any]]()
    told = ("--features", *WEATHER, "--feature-keys", "station", "--feature-timeout", "30")
    token = ("--feature-token-file", str(tmp_path / "token"))
    rows = pd.DataFrame({"hour": [1.0, 2.0], "station": ["Bonn", "Oslo"]})
    with store(as_feast, asked) as url, start(site, "--feature-store", url, *told, *token) as server:
        with contextlib.closing(Client(server.url, "rides", 10.0)) as client:
            answered = predict_rows(client, rows, lambda raw: raw, online=online)
            whole = predict_rows(client, answered[["hour"]].assign(temp=0.0, hum=0.0), lambda raw: raw, online=online)
            raw = rows.rename(columns={"hour": "clock"})
            prepared = predict_rows(client, raw, lambda raw: raw[["clock"]].set_axis(["hour"], axis=1), online=online)
            with pytest.raises(DataError, match="column 'station' is missing"):
                predict_rows(client, rows[["hour"]], lambda raw: raw, online=online)
    assert answered["prediction"].tolist() == [1.75, 2.0]
    assert whole["prediction"].tolist() == [1.0, 2.0]
    assert prepared["prediction"].tolist() == answered["prediction"].tolist()
    assert [one["auth"] for one in asked] == ["Bearer let me"] * 2
