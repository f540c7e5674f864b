"""Explanations over HTTP: of inputs, of a prediction by its id, by a worker that may die."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx
import psutil
import pytest
from tests.serving.sites import Server, Site, Start, error_of, named

from everloop.errors import RequestError, SystemError_
from everloop.serving.explain import Explainer
from everloop.serving.explainer import Order
from everloop.types import Explanation

USUAL = sum(n / 4 for n in range(12)) / 12


def explain(server: Server, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v2/models/rides/explain", json=body, timeout=60)


def worker(server: Server) -> psutil.Process:
    (found,) = psutil.Process(server.pid).children()
    return found


def test_base_and_values_sum_to_the_answer(site: Site, start: Start) -> None:
    site.write(1)
    with start(site) as server:
        answer = explain(server, **named(8.0)).json()
    assert (answer["model_version"], answer["prediction_id"], answer["background"]) == ("v1", None, 32)
    (row,) = answer["explanations"]
    assert row["answer"] == 8.75
    assert row["base"] == pytest.approx(3 * USUAL)
    assert row["values"] == pytest.approx({"hour": 8 - USUAL, "temp": 0.5 - USUAL, "hum": 0.25 - USUAL})
    assert row["method"] == "all 8 coalitions"
    assert not site.records("explanation")


def test_a_prediction_is_explained_by_who_answered_it_and_only_once(site: Site, start: Start) -> None:
    site.write(1)
    with start(site) as server:
        told = httpx.post(server.infer, json=named(8.0), headers={"x-everloop-version": "v2"}).json()
        id = told["parameters"]["prediction_id"]
        answers = [explain(server, prediction_id=id).json() for _ in range(2)]
        other = explain(server, prediction_id=id, parameters={"background": 4}).json()
    assert answers[0] == answers[1]
    assert (answers[0]["model_version"], answers[0]["explanations"][0]["answer"]) == ("v2", 1008.75)
    assert (answers[0]["prediction_id"], other["background"]) == (id, 4)
    records = site.records("explanation")
    assert [r.id for r in records] == [id, id]
    assert records[0].read(Explanation).rows == answers[0]["explanations"]


def test_classes(site: Site, start: Start) -> None:
    from everloop.serving.plan import write_plan
    from everloop.types import Plan, Variant

    write_plan(site.plan, Plan(1, "shop", (Variant("s1", "bundles/s1", "champion", 1.0),)))
    values = {"price": ("FP64", 2.5), "count": ("INT64", 3), "member": ("BOOL", True), "city": ("BYTES", "Oslo")}
    inputs = [{"name": n, "shape": [1], "datatype": d, "data": [v]} for n, (d, v) in values.items()]
    with start(site) as server:
        url = f"{server.url}/v2/models/shop/explain"
        likeliest, asked = (
            httpx.post(url, json={"inputs": inputs, "parameters": p}, timeout=60).json()["explanations"][0]
            for p in ({}, {"class": 0})
        )
        wrong = httpx.post(url, json={"inputs": inputs, "parameters": {"class": 7}}, timeout=60)
    assert (likeliest["class"], asked["class"]) == (1, 0)
    assert likeliest["answer"] + asked["answer"] == pytest.approx(1.0, abs=1e-6)
    assert likeliest["values"]["city"] == pytest.approx(-asked["values"]["city"], abs=1e-6)
    assert (wrong.status_code, error_of(wrong)) == (400, "class 7 is unknown: one of 0, 1")


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "send 'inputs' or a 'prediction_id', one of the two"),
        (named(1.0) | {"prediction_id": "x"}, 400, "one of the two"),
        ({"prediction_id": "0190a3c5-7d2e-7cc3-98f6-0f9d2b7c1a55"}, 404, "no prediction '0190a3c5"),
        (named(1.0) | {"parameters": {"background": 0}}, 400, "background 0: give a number of rows from 1 to 256"),
        (named(1.0) | {"parameters": {"seed": "x"}}, 400, "seed 'x': give a whole number"),
        (named(1.0) | {"parameters": {"class": 1}}, 400, "class 1 is unknown: one of none"),
        ({"inputs": named(1.0)["inputs"][:1]}, 400, "missing tensors 'temp', 'hum'"),
    ],
)
def test_what_cannot_be_explained(site: Site, start: Start, body: dict[str, Any], status: int, reason: str) -> None:
    site.write(1)
    with start(site) as server:
        answer = explain(server, **body)
        assert answer.status_code == status
        assert reason in error_of(answer)


def test_a_worker_that_dies_is_started_again_and_ends_with_the_server(site: Site, start: Start) -> None:
    site.write(1)
    with start(site) as server:
        assert not psutil.Process(server.pid).children()
        assert explain(server, **named(8.0)).status_code == 200
        worker(server).send_signal(signal.SIGKILL)
        statuses = [explain(server, **named(8.0)).status_code for _ in range(2)]
        assert statuses in ([503, 200], [200, 200])
        last = worker(server)
        server.process.kill()
        _, alive = psutil.wait_procs([last], timeout=15)
        assert not alive


@pytest.mark.asyncio
async def test_few_wait_and_none_too_long(site: Site) -> None:
    order = Order(
        {"v1": str(site.folder / "bundles" / "v1")}, "", "", "v1", {n: [1.0] for n in ("hour", "temp", "hum")}
    )
    explainer = Explainer(site.keys, site.journal, 30.0, waiting=1)
    first = asyncio.create_task(explainer.explain(order))
    await asyncio.sleep(0)
    with pytest.raises(SystemError_, match="1 explanations wait already: try again"):
        await explainer.explain(order)
    assert (await first)[0].rows[0]["answer"] == 3.0
    await explainer.close()
    hasty = Explainer(site.keys, site.journal, 0.01)
    with pytest.raises(RequestError, match=r"took longer than 0\.01 s") as caught:
        await hasty.explain(order)
    assert caught.value.http_status == 504
    await hasty.close()
