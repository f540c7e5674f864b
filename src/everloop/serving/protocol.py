"""The Open Inference Protocol v2 in JSON: requests, feedback and answers as typed messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec

from everloop.errors import RequestError
from everloop.types import Column, Dtype

__all__ = [
    "DATATYPES",
    "ExplainRequest",
    "ExplainResponse",
    "FeedbackBatch",
    "FeedbackItem",
    "InferRequest",
    "InferResponse",
    "ModelMetadata",
    "OutputTensor",
    "RepositoryModel",
    "RepositoryRequest",
    "RequestedOutput",
    "Tensor",
    "TensorMetadata",
    "decode_explain",
    "decode_feedback",
    "decode_infer",
    "decode_repository",
    "encode",
    "refuse_parameters",
    "tensor_metadata",
]

DATATYPES: Final[dict[Dtype, str]] = {
    "float64": "FP64", "int64": "INT64", "bool": "BOOL", "string": "BYTES", "uint8": "UINT8"
}  # fmt: skip
"""The protocol's datatype of each of our dtypes, in answers and metadata."""

M = TypeVar("M")


class Tensor(msgspec.Struct, gc=False):
    """One tensor of a request: `data` is flat in row-major order, or nested as `shape` says; in binary it follows."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] = []
    parameters: dict[str, Any] | None = None


class RequestedOutput(msgspec.Struct, gc=False):
    """An output that the caller wants; naming none asks for all."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """The body of `POST /v2/models/{model}/infer`."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[RequestedOutput] = []


class OutputTensor(msgspec.Struct, gc=False):
    """One tensor of an answer, its data flat in row-major order; a number that is not finite travels as null."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any]


class InferResponse(msgspec.Struct):
    """The answer to an inference; `parameters` always holds `prediction_id` and `variant`."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Any]
    outputs: list[OutputTensor]


class FeedbackItem(msgspec.Struct, gc=False):
    """The true value of one row of one prediction, as it arrives; `time` only under an event clock."""

    prediction: str
    value: bool | int | float | str
    row: int = 0
    time: float | str | None = None


class FeedbackBatch(msgspec.Struct):
    """The body of `POST /v2/models/{model}/feedback` when it carries several labels."""

    feedback: list[FeedbackItem]


class ExplainRequest(msgspec.Struct):
    """The body of `POST /v2/models/{model}/explain`: `inputs` as for an inference, or the id of a prediction.

    `parameters`: `class` (default: the likeliest), `background` (rows that a left-out column takes its values from, at
    most 256), `seed`.
    """

    inputs: list[Tensor] = []
    prediction_id: str | None = None
    parameters: dict[str, Any] = {}


class ExplainResponse(msgspec.Struct):
    """The answer to an explanation: in each row, `base` and all `values` sum to the `answer`."""

    model_name: str
    model_version: str
    prediction_id: str | None
    explanations: list[dict[str, Any]]
    background: int


class TensorMetadata(msgspec.Struct):
    """What one tensor looks like; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(msgspec.Struct):
    """The answer to `GET /v2/models/{model}`."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class RepositoryRequest(msgspec.Struct):
    """The body of the repository's verbs; `ready` asks the index for what answers only. It may be empty."""

    ready: bool = False
    parameters: dict[str, Any] = {}


class RepositoryModel(msgspec.Struct):
    """One version in the answer to `POST /v2/repository/index`; a reason says why it does not answer."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = ""


encode = msgspec.json.Encoder().encode
_infer = msgspec.json.Decoder(InferRequest)
_explain = msgspec.json.Decoder(ExplainRequest)
_batch = msgspec.json.Decoder(FeedbackBatch)
_item = msgspec.json.Decoder(FeedbackItem)
_repository = msgspec.json.Decoder(RepositoryRequest)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_infer(body: bytes) -> InferRequest:
    """Return the inference request that a body holds, or raise `RequestError` with the place of what is wrong."""
    return _decode(_infer, body)


def decode_explain(body: bytes) -> ExplainRequest:
    """Return the request for an explanation that a body holds; raises `RequestError` unless it names one thing."""
    request = _decode(_explain, body)
    if bool(request.inputs) == bool(request.prediction_id):
        raise RequestError("send 'inputs' or a 'prediction_id', one of the two")
    return request


def decode_feedback(body: bytes) -> list[FeedbackItem]:
    """Return the labels of a body: `{"feedback": [...]}`, or one label by itself."""
    if "feedback" in _decode(_object, body):
        return _decode(_batch, body).feedback
    return [_decode(_item, body)]


def decode_repository(body: bytes) -> RepositoryRequest:
    """Return the request of a repository verb; raises `RequestError` for parameters of a load."""
    request = _decode(_repository, body or b"{}")
    refuse_parameters({name: value for name, value in request.parameters.items() if name != "unload_dependents"})
    return request


def refuse_parameters(given: Mapping[str, Any]) -> None:
    """Raise `RequestError` for a load that brings its own configuration or files."""
    if given:
        raise RequestError(f"parameter {next(iter(given))!r} is unknown: models come from the plan alone")


def tensor_metadata(column: Column, width: int | None = None) -> TensorMetadata:
    """Return how the protocol describes a column; `width` is the length of a vector that each row of it holds."""
    shape = [-1, *column.shape] if width is None else [-1, width]
    return TensorMetadata(column.name, DATATYPES[column.dtype], shape)


def _decode(decoder: msgspec.json.Decoder[M], body: bytes) -> M:
    try:
        return decoder.decode(body)
    except RecursionError:
        raise RequestError("the body is nested too deeply") from None
    except ValueError as error:  # msgspec's own errors, broken UTF-8, a number of thousands of digits
        raise RequestError(f"the body cannot be understood: {error}") from None
