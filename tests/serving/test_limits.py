"""How much a server takes on: more is told to come back, and what takes too long is given up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.serving.sites import Site, named, open_plane, rides_plan

from everloop.errors import RequestError, SystemError_
from everloop.serving.clock import event_clock
from everloop.serving.limits import Limits
from everloop.serving.metrics import Metrics
from everloop.serving.models import ModelLoader
from everloop.serving.plane import Context, Plane
from everloop.serving.protocol import FeedbackItem, InferRequest, decode_infer, encode
from everloop.types import Failure

CONTEXT = Context("rides", lambda _: None)


def request(rows: int = 1, **parameters: Any) -> InferRequest:
    body = named(1.0, parameters={"time": 1.0, **parameters})
    for tensor in body["inputs"]:
        tensor |= {"shape": [rows], "data": tensor["data"] * rows}
    return decode_infer(encode(body))


def slow(plane: Plane, until: threading.Event) -> None:
    """Let the champion answer only after an event."""
    assert plane._serving
    model: Any = plane._serving.models["v1"]._model
    predict = model.predict_scored

    def wait(arrays: Any) -> Any:
        assert until.wait(10)
        return predict(arrays)

    model.predict_scored = wait


@pytest.mark.asyncio
async def test_more_requests_than_the_limit_are_told_to_come_back(site: Site) -> None:
    async with open_plane(site, limits=Limits(requests=2)) as plane:
        await plane.take(rides_plan(1))
        slow(plane, go_on := threading.Event())
        under_way = [asyncio.create_task(plane.infer(request(300), CONTEXT)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(SystemError_, match="2 requests are under way, no more are taken: try again"):
            await plane.infer(request(), CONTEXT)
        go_on.set()
        assert [len(answer.outputs[0].data) for answer in await asyncio.gather(*under_way)] == [300, 300]
        assert (await plane.infer(request(), CONTEXT)).model_version == "v1"


@pytest.mark.parametrize("asked", [{}, {"timeout": 20_000}])
@pytest.mark.asyncio
async def test_what_takes_too_long_is_given_up_and_not_journalled(site: Site, asked: dict[str, int]) -> None:
    async with open_plane(site, limits=Limits(seconds=30.0 if asked else 0.02)) as plane:
        await plane.take(rides_plan(1))
        slow(plane, go_on := threading.Event())
        with pytest.raises(RequestError, match=r"the answer took longer than 0\.02 s: ") as caught:
            await plane.infer(request(300, **asked), CONTEXT)
        go_on.set()
        assert caught.value.http_status == 504
        ticks = iter([0.0, 31.0, 31.0])
        plane._timer = lambda: next(ticks)
        with pytest.raises(RequestError, match="longer than"):
            await plane.infer(request(1), CONTEXT)
    assert not site.records("prediction")
    failed = [record.read(Failure) for record in site.records("failure")]
    assert [(f.version, f.status, f.why, f.propensity) for f in failed] == [("v1", 504, "only", 1.0)] * 2
    assert failed[1].latency_us == 31_000_000


def test_a_caller_may_only_shorten_the_limit() -> None:
    limits = Limits(seconds=2.0)
    assert limits.seconds_of({}) == 2.0
    assert limits.seconds_of({"timeout": 500_000}) == 0.5
    assert limits.seconds_of({"timeout": 10**9}) == 2.0
    assert limits.seconds_of({"timeout": 0}) == 2.0
    for wrong in ("1", True, -5):
        with pytest.raises(RequestError, match="give a number of microseconds"):
            limits.seconds_of({"timeout": wrong})


class Stuck:
    """A journal whose disk does not answer until it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def append(self, *_: object) -> None:
        await self.go_on.wait()


@pytest.mark.asyncio
async def test_a_disk_that_is_slow_lets_no_more_wait_than_the_limit(site: Site) -> None:
    journal = Stuck()
    plane = Plane(ModelLoader(site.folder, site.keys), journal, event_clock, Metrics(), Limits(requests=3))
    await plane.take(rides_plan(1))
    label = FeedbackItem("0190a3c5-7d2e-7cc3-98f6-0f9d2b7c1a55", 1.0, time=1.0)
    waiting: list[asyncio.Task[Any]] = [asyncio.create_task(plane.infer(request(), CONTEXT)) for _ in range(2)]
    waiting.append(asyncio.create_task(plane.feedback("rides", [label])))
    await asyncio.sleep(0)
    for one in (plane.infer(request(), CONTEXT), plane.feedback("rides", [label])):
        with pytest.raises(SystemError_, match="3 requests are under way"):
            await one
    journal.go_on.set()
    await asyncio.gather(*waiting)
    assert plane._under_way == 0
