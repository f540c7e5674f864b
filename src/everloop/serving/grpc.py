"""The Open Inference Protocol over gRPC: the same plane on a port of its own."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import grpc
import grpc.aio

from everloop.errors import BusyError, EverloopError, RequestError
from everloop.serving.authorization import Authorization
from everloop.serving.binary import bytes_of, text_or_bytes, values_of
from everloop.serving.messages import message
from everloop.serving.metrics import Metrics
from everloop.serving.plane import Context, Plane
from everloop.serving.protocol import (
    InferRequest,
    InferResponse,
    OutputTensor,
    RequestedOutput,
    Tensor,
    refuse_parameters,
)
from everloop.serving.repository import Repository

__all__ = ["GrpcServer"]

_log = logging.getLogger("everloop.serving")
_GRACE = 10.0
_SERVICE = "inference.GRPCInferenceService"
_OF_STATUS: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_CONTENTS: Final = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip

BINARY: Final[dict[str, Any]] = {"binary_data_size": 0}
"""Says of a tensor that its texts came as bytes."""
_Response = message("ModelInferResponse")
_ModelMetadata = message("ModelMetadataResponse")
Call = Callable[[Any, Any], Awaitable[Any]]


class GrpcServer:
    """Answers the protocol's calls by a plane, from `start` to `stop`."""

    def __init__(
        self,
        plane: Plane,
        repository: Repository,
        metrics: Metrics,
        status: Callable[[], dict[str, Any]],
        max_body: int,
        token: str | None = None,
        shared: bool = False,
    ) -> None:
        """`shared`: several processes listen on one port."""
        self._plane, self._repository, self._metrics, self._status = plane, repository, metrics, status
        self._authorization = Authorization(token)
        options = [("grpc.max_receive_message_length", max_body), ("grpc.so_reuseport", int(shared))]
        self._server = grpc.aio.server(options=options)
        calls = {
            "ServerLive": self._live, "ServerReady": self._server_ready, "ModelReady": self._ready,
            "ServerMetadata": self._server_metadata, "ModelMetadata": self._metadata, "ModelInfer": self._infer,
            "RepositoryIndex": self._index, "RepositoryModelLoad": self._load, "RepositoryModelUnload": self._unload,
        }  # fmt: skip
        handlers = {name: self._handler(name, call) for name, call in calls.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))

    async def start(self, host: str, port: int) -> str:
        """Listen, and return the address; raises `BusyError` when another process has the port."""
        place = f"[{host}]" if ":" in host else host
        try:
            port = self._server.add_insecure_port(f"{place}:{port}")
        except RuntimeError as error:
            raise BusyError(f"gRPC cannot listen on {place}:{port}: choose another --grpc-port") from error
        await self._server.start()
        return f"{place}:{port}"

    async def stop(self) -> None:
        """Take no more calls, and cut those still under way after ten seconds."""
        await self._server.stop(_GRACE)

    def _handler(self, name: str, call: Call) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            try:
                return await call(request, context)
            except EverloopError as error:
                self._metrics.error(error.http_status)
                await context.abort(_OF_STATUS.get(error.http_status, grpc.StatusCode.INTERNAL), str(error))
            except Exception as error:
                self._metrics.error(500)
                _log.error("gRPC %s failed", name, exc_info=error)
                await context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log says why")

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=message(f"{name}Request").FromString,
            response_serializer=message(f"{name}Response").SerializeToString,
        )

    async def _live(self, _request: Any, _context: Any) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def _server_ready(self, _request: Any, _context: Any) -> Any:
        return message("ServerReadyResponse")(ready=self._plane.ready())

    async def _ready(self, request: Any, _context: Any) -> Any:
        ready = self._plane.ready(request.name, request.version or None)
        return message("ModelReadyResponse")(ready=ready)

    async def _server_metadata(self, _request: Any, _context: Any) -> Any:
        told = self._status()
        return message("ServerMetadataResponse")(**{name: told[name] for name in ("name", "version", "extensions")})

    async def _metadata(self, request: Any, _context: Any) -> Any:
        told = self._plane.metadata(request.name, request.version or None)
        answer = _ModelMetadata(name=told.name, versions=told.versions, platform=told.platform)
        for tensors, place in ((told.inputs, answer.inputs), (told.outputs, answer.outputs)):
            for tensor in tensors:
                place.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return answer

    async def _index(self, request: Any, context: Any) -> Any:
        self._authorization.check(_header(context)("authorization"))
        answer = message("RepositoryIndexResponse")()
        for one in self._repository.index(request.ready):
            answer.models.add(name=one.name, version=one.version, state=one.state, reason=one.reason)
        return answer

    async def _load(self, request: Any, context: Any) -> Any:
        self._authorization.check(_header(context)("authorization"))
        refuse_parameters(request.parameters)
        await self._repository.load(request.model_name)
        return message("RepositoryModelLoadResponse")()

    async def _unload(self, request: Any, context: Any) -> Any:
        self._authorization.check(_header(context)("authorization"))
        self._repository.unload(request.model_name)
        return message("RepositoryModelUnloadResponse")()

    async def _infer(self, request: Any, context: Any) -> Any:
        asked = Context(request.model_name, _header(context), request.model_version or None)
        response = await self._plane.infer(_request(request), asked)
        return _answer(response, raw=bool(request.raw_input_contents))


def _header(context: Any) -> Callable[[str], str | None]:
    headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
    return headers.get


def _request(given: Any) -> InferRequest:
    """Return the plane's request; raises `RequestError` naming the tensor that is wrong."""
    raw = given.raw_input_contents
    if raw and len(raw) != len(given.inputs):
        raise RequestError(f"raw_input_contents holds {len(raw)} tensors, inputs names {len(given.inputs)}")
    tensors = []
    for place, tensor in enumerate(given.inputs):
        read = Tensor(tensor.name, list(tensor.shape), tensor.datatype, parameters=BINARY)
        read.data = values_of(read, raw[place]) if raw else _contents(read, tensor.contents)
        tensors.append(read)
    outputs = [RequestedOutput(output.name) for output in given.outputs]
    return InferRequest(tensors, given.id or None, _parameters(given.parameters), outputs)


def _contents(tensor: Tensor, contents: Any) -> list[Any]:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise RequestError(f"tensor {tensor.name!r} of datatype {tensor.datatype!r} travels in raw_input_contents only")
    values = list(getattr(contents, field))
    if tensor.datatype == "BYTES":
        return [text_or_bytes(value) for value in values]
    if tensor.datatype.startswith("FP"):
        return [None if math.isnan(value) else value for value in values]
    return values


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, value.WhichOneof("parameter_choice") or "", None) for name, value in given.items()}


def _answer(response: InferResponse, raw: bool) -> Any:
    """Return the answer's message, its tensors as the request's were: raw, or in typed fields."""
    answer = _Response(model_name=response.model_name, model_version=response.model_version, id=response.id)
    for name, value in response.parameters.items():
        answer.parameters[name].string_param = value if isinstance(value, str) else str(value)
    for output in response.outputs:
        tensor = answer.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if raw:
            answer.raw_output_contents.append(bytes_of(output))
        else:
            getattr(tensor.contents, _CONTENTS[output.datatype]).extend(_plain(output))
    return answer


def _plain(output: OutputTensor) -> Sequence[Any]:
    if output.datatype == "BYTES":
        return [str(value).encode() for value in output.data]
    return output.data
