"""gRPC in front of a plane: both forms of tensors, every datatype, errors by their codes, a clean end."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec
import numpy as np
import pytest
import pytest_asyncio
from grpc_tools import protoc
from tests.serving.sites import Site, open_plane, rides_plan

from everloop.errors import BusyError
from everloop.serving.clock import Clock, event_clock, wall_clock
from everloop.serving.grpc import GrpcServer
from everloop.serving.messages import message
from everloop.serving.metrics import Metrics
from everloop.serving.plan import PlanFile
from everloop.serving.plane import Plane
from everloop.serving.repository import Repository
from everloop.serving.watch import PlanWatch
from everloop.types import Plan, Prediction, Variant

SOURCE = Path(__file__).parents[2] / "src" / "everloop" / "serving"
SHOP: dict[str, tuple[str, list[Any]]] = {
    "price": ("FP64", [2.5]),
    "count": ("INT64", [3]),
    "member": ("BOOL", [True]),
    "city": ("BYTES", [b"Oslo"]),
}
FIELDS = {"FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}
RAW = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}


class Client:
    """Calls of the service by name."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __call__(self, call: str, request: Any = None, **fields: Any) -> Any:
        sent = self._channel.unary_unary(
            f"/inference.GRPCInferenceService/{call}",
            request_serializer=lambda given: given.SerializeToString(),
            response_deserializer=message(f"{call}Response").FromString,
        )
        return await sent(request if request is not None else message(f"{call}Request")(**fields))

    async def refused(self, request: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self("ModelInfer", request)
        return caught.value.code(), caught.value.details() or ""


def grpc_server(site: Site, plane: Plane, metrics: Metrics, *rest: Any) -> GrpcServer:
    repository = Repository(plane, PlanWatch(plane, PlanFile(site.plan), metrics))
    return GrpcServer(plane, repository, metrics, *rest)


@contextlib.asynccontextmanager
async def serving(site: Site, plan: Plan | None, clock: Clock = wall_clock) -> AsyncIterator[Client]:
    async with open_plane(site, clock) as plane:
        if plan:
            await plane.take(plan)
        metrics = Metrics()
        server = grpc_server(
            site, plane, metrics, lambda: {"name": "everloop", "version": "1", "extensions": ["e"]}, 1_000_000
        )
        address = await server.start("127.0.0.1", 0)
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                yield Client(channel)
        finally:
            await server.stop()


@pytest_asyncio.fixture
async def rides(site: Site) -> AsyncIterator[Client]:
    async with serving(site, rides_plan(1)) as client:
        yield client


def shop_request(raw: bool, **changed: tuple[str, list[Any]]) -> Any:
    request = message("ModelInferRequest")(model_name="shop", id="mine")
    for name, (datatype, values) in (SHOP | changed).items():
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[len(values)])
        if not raw:
            getattr(tensor.contents, FIELDS[datatype]).extend(values)
        elif datatype == "BYTES":
            request.raw_input_contents.append(b"".join(len(v).to_bytes(4, "little") + v for v in values))
        else:
            request.raw_input_contents.append(np.array(values, RAW[datatype]).tobytes())
    return request


def rides_request(*values: float, **fields: Any) -> Any:
    request = message("ModelInferRequest")(model_name="rides", **fields)
    for name, value in zip(("hour", "temp", "hum"), values, strict=False):
        request.inputs.add(name=name, datatype="FP64", shape=[1]).contents.fp64_contents.append(value)
    return request


@pytest.mark.asyncio
async def test_both_forms_of_every_datatype(site: Site) -> None:
    plan = Plan(1, "shop", (Variant("s1", "bundles/s1", "champion", 1.0),))
    async with serving(site, plan) as call:
        plain, raw = await call("ModelInfer", shop_request(raw=False)), await call("ModelInfer", shop_request(raw=True))
    assert (plain.model_name, plain.model_version, plain.id) == ("shop", "s1", "mine")
    assert [o.name for o in plain.outputs] == ["label", "probability"]
    assert list(plain.outputs[0].contents.int64_contents) == [1]
    assert list(plain.outputs[1].shape) == [1, 2]
    assert not plain.raw_output_contents
    assert np.frombuffer(raw.raw_output_contents[0], "<i8").tolist() == [1]
    probability = np.frombuffer(raw.raw_output_contents[1], "<f8")
    assert probability.tolist() == list(plain.outputs[1].contents.fp64_contents)
    first, second = (msgspec.json.decode(r.payload, type=Prediction) for r in site.records("prediction"))
    assert (first.inputs, first.outputs) == (second.inputs, second.outputs)


@pytest.mark.asyncio
async def test_not_a_number_is_a_missing_value_and_the_time_is_a_parameter(site: Site) -> None:
    request = rides_request(1.0, float("nan"), 2.0)
    request.parameters["time"].double_param = 1_700_000_000.0
    async with serving(site, rides_plan(1), event_clock) as call:
        answer = await call("ModelInfer", request)
    assert np.isnan(answer.outputs[0].contents.fp64_contents[0])
    (record,) = site.records("prediction")
    assert record.time == 1_700_000_000.0
    assert b'"temp":[null]' in bytes(record.payload)


@pytest.mark.asyncio
async def test_wanted_outputs(rides: Client) -> None:
    request = rides_request(1, 2, 3)
    request.outputs.add(name="prediction")
    assert [o.name for o in (await rides("ModelInfer", request)).outputs] == ["prediction"]
    request.outputs.add(name="other")
    assert await rides.refused(request) == (
        grpc.StatusCode.INVALID_ARGUMENT, "unknown output 'other': this model answers prediction",
    )  # fmt: skip


@pytest.mark.asyncio
async def test_every_error_has_its_code_and_names_its_field(rides: Client, site: Site) -> None:
    code = grpc.StatusCode
    assert await rides.refused(rides_request(1, 2)) == (code.INVALID_ARGUMENT, "missing tensor 'hum'")
    status, told = await rides.refused(message("ModelInferRequest")(model_name="shop"))
    assert (status, told) == (code.NOT_FOUND, "no model 'shop'")
    status, told = await rides.refused(rides_request(1, 2, 3, model_version="v3"))
    assert (status, told) == (code.NOT_FOUND, "no version 'v3'")
    request = rides_request(1, 2, 3)
    request.inputs[1].datatype = "FP16"
    assert await rides.refused(request) == (
        code.INVALID_ARGUMENT, "tensor 'temp' of datatype 'FP16' travels in raw_input_contents only",
    )  # fmt: skip
    request = rides_request(1, 2, 3)
    request.raw_input_contents.append(b"12345678")
    assert await rides.refused(request) == (
        code.INVALID_ARGUMENT, "raw_input_contents holds 1 tensors, inputs names 3",
    )  # fmt: skip
    request.raw_input_contents.extend([b"1234567", b"12345678"])
    assert (await rides.refused(request))[0] == code.INVALID_ARGUMENT
    large = rides_request(1, 2, 3, id="x" * 1_000_001)
    assert (await rides.refused(large))[0] == code.RESOURCE_EXHAUSTED
    assert not site.records("prediction")


@pytest.mark.asyncio
async def test_text_that_is_none(site: Site) -> None:
    plan = Plan(1, "shop", (Variant("s1", "bundles/s1", "champion", 1.0),))
    async with serving(site, plan) as call:
        for raw in (True, False):
            status, told = await call.refused(shop_request(raw, city=("BYTES", [b"\xff"])))
            assert (status, told) == (grpc.StatusCode.INVALID_ARGUMENT, "tensor 'city', value 0 is not UTF-8")


@pytest.mark.asyncio
async def test_before_the_first_plan(site: Site) -> None:
    async with serving(site, None) as call:
        assert (await call("ServerLive")).live
        assert not (await call("ServerReady")).ready
        assert not (await call("ModelReady", name="rides")).ready
        status, told = await call.refused(rides_request(1, 2, 3))
        assert (status, told[:30]) == (grpc.StatusCode.UNAVAILABLE, "this server has no plan yet: i")


@pytest.mark.asyncio
async def test_a_port_that_is_taken(site: Site) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        async with open_plane(site) as plane:
            server = grpc_server(site, plane, Metrics(), dict, 1000)
            with pytest.raises(BusyError, match=r"gRPC cannot listen on 127\.0\.0\.1:\d+: choose another --grpc-port"):
                await server.start("127.0.0.1", other.getsockname()[1])
            await server.stop()


def test_both_ports_are_told_and_sigterm_ends_them(site: Site, start: Any) -> None:
    site.write(1)
    with start(site, "--grpc-port", "0") as running:
        with grpc.insecure_channel(running.grpc) as channel:
            grpc.channel_ready_future(channel).result(10)
        running.process.send_signal(signal.SIGTERM)
        _, told = running.process.communicate(timeout=20)
        assert (running.process.returncode, told.count("Traceback")) == (0, 0), told


def test_the_rendered_protocol_is_that_of_the_source(tmp_path: Path) -> None:
    out = tmp_path / "inference.pb"
    assert protoc.main(["", f"--proto_path={SOURCE}", f"--descriptor_set_out={out}", "inference.proto"]) == 0
    assert out.read_bytes() == (SOURCE / "inference.pb").read_bytes(), "run `make protocol`"
