from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serving.sites import Site, error_of, named, open_plane, read_journal, rides_plan

from everloop.serving.http import HttpApp
from everloop.serving.metrics import Metrics
from everloop.serving.plan import PlanFile
from everloop.serving.plane import Plane
from everloop.serving.repository import Repository
from everloop.serving.watch import PlanWatch

ID = "018f2c3a-0000-7000-8000-00000000000a"
INFER = "/v2/models/rides/infer"
AT = {"parameters": {"time": 1.0}}


@contextlib.asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


def caller(plane: Plane, metrics: Metrics, token: str | None = None) -> httpx.AsyncClient:
    repository = Repository(plane, PlanWatch(plane, PlanFile(Path("plan.json")), metrics))
    app = HttpApp(plane, repository, metrics, lambda: {"name": "everloop"}, nothing, 10_000, token)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=True), base_url="http://server")


@pytest_asyncio.fixture
async def http(plane: Plane) -> AsyncIterator[httpx.AsyncClient]:
    async with caller(plane, Metrics()) as opened:
        yield opened


@pytest.mark.asyncio
async def test_named_columns_and_a_matrix_give_one_answer(http: httpx.AsyncClient) -> None:
    named_answer = await http.post(INFER, json=named(1.0, **AT))
    matrix = {"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [[1.0, 0.5, 0.25]]}
    matrix_answer = await http.post(INFER, json={"inputs": [matrix], **AT})
    for answer in (named_answer, matrix_answer):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert (body["model_name"], body["model_version"]) == ("rides", "v1")
        assert body["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [1], "data": [1.75]}]


@pytest.mark.asyncio
async def test_a_version_of_the_path_answers(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v2/models/rides/versions/v2/infer", json=named(1.0, **AT))
    assert answer.json()["outputs"][0]["data"] == [1001.75]


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/", 404, "no path '/'"),
        ("GET", "/v2/health/lvie", 404, "did you mean '/v2/health/live'"),
        ("GET", "/v2/models/ride", 404, "no model 'ride' (did you mean 'rides'?)"),
        ("POST", "/v2/models/ride/infer", 404, "no model 'ride'"),
        ("POST", "/v2/models/ride/feedback", 404, "no model 'ride'"),
        ("POST", "/v2/models/rides/versions/v9/infer", 404, "no version 'v9'"),
        ("GET", "/v2/models/rides/versions/v9/ready", 404, "no version 'v9'"),
        ("GET", INFER, 405, "takes POST, not GET"),
        ("DELETE", "/v2", 405, "takes GET, not DELETE"),
        ("POST", "/metrics", 405, "takes GET, not POST"),
    ],
)
@pytest.mark.asyncio
async def test_what_is_not_there_is_named(
    http: httpx.AsyncClient, method: str, path: str, status: int, reason: str
) -> None:
    body = {"prediction": ID, "value": 1, "time": 1.0} if "feedback" in path else named(1.0, **AT)
    answer = await http.request(method, path, json=body)
    assert answer.status_code == status
    assert reason in error_of(answer)
    assert answer.headers.get("allow") == (None if status == 404 else reason.split()[1].rstrip(","))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "cannot be understood"),
        (b"nonsense", "malformed"),
        (b'{"inputs":[]}', "'time'"),
        (b'{"inputs":[],"parameters":{"time":1}}', "missing tensors 'hour', 'temp', 'hum'"),
        (b'{"inputs":[],"parameters":{"time":[1]}}', "'time' is '[1]'"),
        (b'{"inputs":{},"parameters":{"time":1}}', "$.inputs"),
    ],
)
@pytest.mark.asyncio
async def test_a_bad_body_is_one_sentence(http: httpx.AsyncClient, body: bytes, reason: str) -> None:
    answer = await http.post(INFER, content=body)
    assert answer.status_code == 400
    assert reason in error_of(answer)


@pytest.mark.asyncio
async def test_a_large_body_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post(INFER, content=b"x" * 10_001)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert "larger than 10000 bytes" in error_of(answer)


@pytest.mark.asyncio
async def test_health_and_metadata(http: httpx.AsyncClient) -> None:
    for path in ("live", "ready"):
        assert (await http.get(f"/v2/health/{path}")).json() == {path: True}
    assert (await http.get("/v2")).json() == {"name": "everloop"}
    assert (await http.get("/v2/models/rides/ready")).json() == {"ready": True}
    assert (await http.head("/v2/models/rides/versions/v2/ready")).status_code == 200
    for path in ("/v2/models/rides", "/v2/models/rides/versions/v2"):
        assert [t["name"] for t in (await http.get(path)).json()["inputs"]] == ["hour", "temp", "hum"]


@pytest.mark.asyncio
async def test_without_a_plan_the_server_lives_and_is_not_ready(site: Site) -> None:
    async with open_plane(site) as plane, caller(plane, Metrics()) as http:
        assert (await http.get("/v2/health/live")).status_code == 200
        assert (await http.get("/v2/health/ready")).status_code == 503
        answer = await http.post(INFER, json=named(1.0, **AT))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "no plan yet" in error_of(answer)


@pytest.mark.asyncio
async def test_labels_are_taken_alone_or_together(http: httpx.AsyncClient, site: Site) -> None:
    item = {"prediction": ID, "value": 5, "time": 2.0}
    assert (await http.post("/v2/models/rides/feedback", json=item)).json() == {"accepted": 1}
    assert (await http.post("/v2/models/rides/feedback", json={"feedback": [item, item]})).json() == {"accepted": 2}
    refused = await http.post("/v2/models/rides/feedback", json={"feedback": [item, {**item, "prediction": "7"}]})
    assert refused.status_code == 400
    assert "'7' is no prediction id" in error_of(refused)
    assert [r.id for r in read_journal(site.journal)] == [ID] * 3


@pytest.mark.asyncio
async def test_labels_need_the_token_where_there_is_one(plane: Plane) -> None:
    item = {"prediction": ID, "value": 5, "time": 2.0}
    async with caller(plane, Metrics(), "geheim") as http:
        for given_header in ({}, {"authorization": "Bearer nein"}, {"authorization": "geheim"}):
            answer = await http.post("/v2/models/rides/feedback", json=item, headers=given_header)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "Bearer TOKEN" in error_of(answer)
        right = {"authorization": "Bearer geheim"}
        assert (await http.post("/v2/models/rides/feedback", json=item, headers=right)).status_code == 200
        assert (await http.post(INFER, json=named(1.0, **AT))).status_code == 200


@pytest.mark.asyncio
async def test_errors_are_counted_by_status(plane: Plane) -> None:
    metrics = Metrics()
    async with caller(plane, metrics) as http:
        await http.get("/nowhere")
        await http.post(INFER, content=b"x")
        page = (await http.get("/metrics")).text
    assert 'everloop_errors_total{status="404"} 1.0' in page
    assert 'everloop_errors_total{status="400"} 1.0' in page


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["hour", "temp", "hum", "x"]),
        "shape": st.lists(st.integers(-1, 3), max_size=3),
        "datatype": st.sampled_from(["FP64", "FP16", "INT64", "UINT8", "BOOL", "BYTES", "X"]),
        "data": st.lists(json_values, max_size=4),
    }
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors | json_values, max_size=4), "parameters": st.just({"time": 1}) | json_values},
    optional={"id": json_values, "outputs": json_values},
)
labels = st.fixed_dictionaries(
    {"prediction": st.just(ID) | json_values, "value": json_values, "time": json_values}, optional={"row": json_values}
)


@given(
    bodies=st.lists(
        st.binary(max_size=60)
        | (json_values | requests | labels | st.fixed_dictionaries({"feedback": st.lists(labels, max_size=3)})).map(
            lambda value: httpx.Request("POST", "http://x", json=value).content
        ),
        min_size=1,
        max_size=10,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_makes_the_server_fail(site: Site, bodies: list[bytes]) -> None:
    async def send() -> list[Any]:
        async with open_plane(site) as plane, caller(plane, Metrics()) as http:
            await plane.take(rides_plan(1, 0.5, sticky_by="column:temp"))
            return [await http.post(path, content=b) for b in bodies for path in (INFER, "/v2/models/rides/feedback")]

    for answer in asyncio.run(send()):
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            assert error_of(answer)
