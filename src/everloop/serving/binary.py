"""The protocol's binary tensor extension: a JSON header, then the bytes of tensors one after the other.

Numbers are little-endian in row-major order; a text is its length in four bytes, then UTF-8; so is a file, its bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection
from typing import Any, Final

import msgspec
import numpy as np

from everloop.errors import RequestError
from everloop.serving.protocol import InferRequest, InferResponse, OutputTensor, Tensor, decode_infer, encode

__all__ = ["LENGTH_HEADER", "bytes_of", "decode_body", "encode_body", "text_or_bytes", "values_of", "wanted_binary"]

LENGTH_HEADER = "inference-header-content-length"
"""The header that says how long the JSON is; a body without it is JSON alone."""
_DTYPES: Final = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "|b1", "INT8": "|i1", "UINT8": "|u1"} | {
    f"{sign}INT{bits}": f"<{kind}{bits // 8}" for bits in (16, 32, 64) for sign, kind in (("", "i"), ("U", "u"))
}
_LENGTH = struct.Struct("<I")


class _BinaryTensor(msgspec.Struct, gc=False):
    """An output whose values follow the JSON."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, int]


def decode_body(body: bytes, length: str | None) -> InferRequest:
    """Return the request of a body whose first `length` bytes are JSON; raises `RequestError` naming the tensor."""
    if length is None:
        return decode_infer(body)
    if not length.isdecimal() or int(length) > len(body):
        raise RequestError(f"{LENGTH_HEADER}: {length[:20]!r} is no length within a body of {len(body)} bytes")
    request, place = decode_infer(body[: int(length)]), int(length)
    for tensor in request.inputs:
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            continue
        if type(size) is not int or not 0 <= size <= len(body) - place:
            raise RequestError(f"tensor {tensor.name!r}: {size!r} bytes do not follow, {len(body) - place} do")
        tensor.data = values_of(tensor, body[place : place + size])
        place += size
    if place != len(body):
        raise RequestError(f"{len(body) - place} bytes follow that belong to no tensor")
    return request


def wanted_binary(request: InferRequest) -> Collection[str] | None:
    """Return the names of the outputs that the caller wants in binary, None for none; all of them as `*`."""
    if not request.outputs:
        return ("*",) if request.parameters.get("binary_data_output") is True else None
    every = request.parameters.get("binary_data_output") is True
    named = {o.name for o in request.outputs if (o.parameters or {}).get("binary_data", every) is True}
    return named or None


def encode_body(response: InferResponse, binary: Collection[str]) -> tuple[bytes, int]:
    """Return the body with these outputs in binary, and the length of its JSON."""
    tensors: list[OutputTensor | _BinaryTensor] = []
    pieces: list[bytes] = []
    for output in response.outputs:
        if output.name in binary or "*" in binary:
            pieces.append(bytes_of(output))
            size = {"binary_data_size": len(pieces[-1])}
            tensors.append(_BinaryTensor(output.name, output.datatype, output.shape, size))
        else:
            tensors.append(output)
    head = encode({**msgspec.structs.asdict(response), "outputs": tensors})
    return b"".join((head, *pieces)), len(head)


def values_of(tensor: Tensor, data: bytes) -> list[Any]:
    """Return the values that a tensor's bytes hold; raises `RequestError` naming the tensor.

    Of a BYTES tensor these are texts, and bytes where it is none: only who knows the column can tell which it must be.
    """
    if tensor.datatype == "BYTES":
        return _texts(tensor, data)
    dtype = _DTYPES.get(tensor.datatype)
    if dtype is None:
        raise RequestError(f"tensor {tensor.name!r} has unknown datatype {tensor.datatype!r}")
    size = math.prod(tensor.shape) * np.dtype(dtype).itemsize
    if len(data) != size:
        raise RequestError(f"tensor {tensor.name!r} has shape {tensor.shape} and {len(data)} bytes, not {size}")
    if tensor.datatype == "BOOL" and data.strip(b"\0\1"):
        raise RequestError(f"tensor {tensor.name!r} holds a byte that is no BOOL: send 0 or 1")
    values: list[Any] = np.frombuffer(data, dtype).tolist()
    if tensor.datatype.startswith("FP"):
        return [_number(tensor, place, value) for place, value in enumerate(values)]
    return values


def _number(tensor: Tensor, place: int, value: float) -> float | None:
    """Return a number; not a number is a missing one."""
    if math.isinf(value):
        raise RequestError(f"tensor {tensor.name!r}, value {place}: {value} is no {tensor.datatype}")
    return None if math.isnan(value) else value


def _texts(tensor: Tensor, data: bytes) -> list[Any]:
    found: list[Any] = []
    place = 0
    while place < len(data):
        if place + 4 > len(data):
            raise RequestError(f"tensor {tensor.name!r} ends within the length of a text")
        (size,) = _LENGTH.unpack_from(data, place)
        place += 4 + size
        if place > len(data):
            raise RequestError(f"tensor {tensor.name!r}, value {len(found)}: its {size} bytes do not follow")
        found.append(text_or_bytes(data[place - size : place]))
    return found


def text_or_bytes(value: bytes) -> str | bytes:
    """Return a text where the bytes are UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def bytes_of(output: OutputTensor) -> bytes:
    """Return an output's values as bytes."""
    if output.datatype == "BYTES":
        encoded = [str(value).encode() for value in output.data]
        return b"".join(piece for value in encoded for piece in (_LENGTH.pack(len(value)), value))
    return np.array(output.data, dtype=_DTYPES[output.datatype]).tobytes()
