"""From the tensors of a request to one list of values a column: shapes and datatypes are checked here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from everloop.errors import RequestError, close_match
from everloop.inference.media import packed, text_of
from everloop.serving.protocol import Tensor
from everloop.types import Column, Dtype

__all__ = ["TensorReader", "scalars_of"]

Values = list[Any]

_LARGEST: Final = {"FP16": 65504.0, "FP32": 3.4028234663852886e38, "FP64": 1.7976931348623157e308}
_INTEGERS: Final = {f"INT{n}": (-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 16, 32, 64)} | {
    f"UINT{n}": (0, 2**n - 1) for n in (8, 16, 32, 64)
}
_FLOAT_ONLY: Final = frozenset((float,))
_EXACT: Final[dict[str, type]] = {"FP64": float, "BOOL": bool, "BYTES": str}
"""Datatypes that every value of one Python type fits: a single such row, the usual request, needs no closer look."""
_NUMBERS: Final = frozenset((*_LARGEST, *_INTEGERS))
_ACCEPTED: Final[dict[Dtype, frozenset[str]]] = {
    "float64": _NUMBERS,
    "int64": _NUMBERS,
    "bool": frozenset(("BOOL",)),
    "string": frozenset(("BYTES",)),
    "uint8": frozenset(("BYTES", "FP32", "UINT8")),
}


class TensorReader:
    """Reads the requests of one model: a tensor a column, or one matrix when every column is a number.

    A column's tensor has the shape [rows] or [rows, 1]. A matrix has the shape [rows, columns], any name, and the
    columns in the manifest's order. A missing number is null. An image or a video is a file's bytes (BYTES: in JSON
    their base64), or the decoded array.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._accepted = {c.name: _ACCEPTED[c.dtype] for c in columns}
        self._media = {c.name: c for c in columns if c.prepare is not None}
        self._numeric = all(c.dtype in ("float64", "int64") and not c.shape for c in columns)

    def read(self, tensors: Sequence[Tensor]) -> dict[str, Values]:
        """Return the values by column, in the request's order; raises `RequestError` naming the tensor."""
        if len(tensors) == 1 and self._is_matrix(tensors[0]):
            return self._matrix(tensors[0])
        accepted = self._accepted
        columns: dict[str, Values] = {}
        for tensor in tensors:
            datatypes = accepted.get(tensor.name)
            if datatypes is None:
                raise RequestError(f"unknown tensor {tensor.name!r}{close_match(tensor.name, accepted)}")
            if tensor.datatype not in datatypes:
                raise _wrong_datatype(tensor, datatypes)
            if tensor.name in columns:
                raise RequestError(f"tensor {tensor.name!r} comes twice")
            if self._media and tensor.name in self._media:
                columns[tensor.name] = _files(tensor, self._media[tensor.name])
                continue
            data = tensor.data
            one = tensor.shape == [1] and len(data) == 1 and type(data[0]) is _EXACT.get(tensor.datatype)
            columns[tensor.name] = data if one else _column(tensor)
        self._check(columns, tensors)
        return columns

    def _is_matrix(self, tensor: Tensor) -> bool:
        """A lone tensor is a matrix unless it is the model's only column by name."""
        shape = tensor.shape
        return len(shape) == 2 and tensor.name not in self._accepted and (self._numeric or shape[1] != 1)

    def _matrix(self, tensor: Tensor) -> dict[str, Values]:
        width = len(self._accepted)
        if not self._numeric:
            raise RequestError(
                f"tensor {tensor.name!r} is a matrix, and not every column of this model is a number: "
                "send one tensor a column"
            )
        if tensor.datatype not in _NUMBERS:
            raise _wrong_datatype(tensor, _NUMBERS)
        if tensor.shape[1] != width or tensor.shape[0] < 1:
            raise RequestError(f"tensor {tensor.name!r} has shape {tensor.shape}: this model takes [rows, {width}]")
        values = _VALUES[tensor.datatype](tensor, _flat(tensor))
        if len(values) == width:
            return {name: [value] for name, value in zip(self._accepted, values, strict=True)}
        return {name: values[place::width] for place, name in enumerate(self._accepted)}

    def _check(self, columns: dict[str, Values], tensors: Sequence[Tensor]) -> None:
        if len(columns) != len(self._accepted):
            missing = [name for name in self._accepted if name not in columns]
            raise RequestError(f"missing tensor{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}")
        rows = tensors[0].shape[0]
        for tensor in tensors:
            if tensor.shape[0] != rows:
                raise RequestError(
                    f"tensor {tensor.name!r} has {tensor.shape[0]} rows, tensor {tensors[0].name!r} has {rows}"
                )


def scalars_of(tensor: Tensor) -> Values:
    """Return the values of a tensor that is no column, one a row; raises `RequestError` naming the tensor."""
    if tensor.datatype not in _VALUES:
        raise RequestError(f"tensor {tensor.name!r} has unknown datatype {tensor.datatype!r}")
    return _column(tensor)


def _column(tensor: Tensor) -> Values:
    shape = tensor.shape
    if not shape or shape[0] < 1 or (len(shape) != 1 and shape[1:] != [1]):
        raise RequestError(f"tensor {tensor.name!r} has shape {shape}: send [rows] or [rows, 1], with a row at least")
    return _VALUES[tensor.datatype](tensor, _flat(tensor))


def _files(tensor: Tensor, column: Column) -> Values:
    """Return the values of images or videos: one text a row, whatever they were sent as."""
    if tensor.datatype != "BYTES":
        return _decoded(tensor, column)
    shape, binary = tensor.shape, "binary_data_size" in (tensor.parameters or {})
    if not shape or shape[0] < 1 or (len(shape) != 1 and shape[1:] != [1]):
        raise RequestError(f"tensor {tensor.name!r} has shape {shape}: send [rows] or [rows, 1] of files, one a row")
    found: Values = []
    for row, value in enumerate(_flat(tensor)):
        if type(value) not in (bytes, str):
            raise _wrong_value(tensor, row, value)
        raw = value.encode() if binary and isinstance(value, str) else value
        found.append(text_of(raw) if isinstance(raw, bytes) else raw)
    return found


def _decoded(tensor: Tensor, column: Column) -> Values:
    wanted = list(column.shape)
    if tensor.shape[1:] != wanted or tensor.shape[0] < 1:
        told = f"send [rows, {', '.join(map(str, wanted))}], or the files themselves as BYTES"
        raise RequestError(f"tensor {tensor.name!r} has shape {tensor.shape}: {told}")
    flat = _flat(tensor)
    try:
        numbers = np.array(flat, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not ((numbers >= 0) & (numbers <= 255) & (numbers == np.floor(numbers))).all():
        raise RequestError(f"tensor {tensor.name!r} holds what is no whole number from 0 to 255, as pixels are")
    return [packed(row) for row in numbers.astype(np.uint8).reshape(-1, *wanted)]


def _flat(tensor: Tensor) -> Values:
    """Return the data in row-major order, once it has as many values as its shape says."""
    data, size = tensor.data, 1
    for length in tensor.shape:
        size *= length
    if data and type(data[0]) is list:
        data = _unnest(tensor, data, tensor.shape)
    if len(data) != size:
        raise RequestError(f"tensor {tensor.name!r} has shape {tensor.shape} and {len(data)} values, not {size}")
    return data


def _unnest(tensor: Tensor, data: Values, shape: Sequence[int]) -> Values:
    if len(data) != shape[0]:
        raise RequestError(f"tensor {tensor.name!r} has shape {tensor.shape} and {len(data)} rows")
    if len(shape) == 1:
        return data
    flat: Values = []
    for row in data:
        if type(row) is not list:
            raise RequestError(f"tensor {tensor.name!r} mixes nested and flat data")
        flat += _unnest(tensor, row, shape[1:])
    return flat


def _floats(tensor: Tensor, data: Values) -> Values:
    if tensor.datatype == "FP64" and _FLOAT_ONLY.issuperset(map(type, data)):
        return data
    largest = _LARGEST[tensor.datatype]
    return [_float(tensor, row, value, largest) for row, value in enumerate(data)]


def _float(tensor: Tensor, row: int, value: object, largest: float) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not -largest <= value <= largest:  # type: ignore[operator]
        raise _wrong_value(tensor, row, value)
    return float(value)  # type: ignore[arg-type]


def _integers(tensor: Tensor, data: Values) -> Values:
    low, high = _INTEGERS[tensor.datatype]
    for row, value in enumerate(data):
        if value is not None and (type(value) is not int or not low <= value <= high):
            raise _wrong_value(tensor, row, value)
    return data


def _booleans(tensor: Tensor, data: Values) -> Values:
    for row, value in enumerate(data):
        if type(value) is not bool:
            raise _wrong_value(tensor, row, value)
    return data


def _texts(tensor: Tensor, data: Values) -> Values:
    for row, value in enumerate(data):
        if type(value) is bytes:
            raise RequestError(f"tensor {tensor.name!r}, value {row} is not UTF-8")
        if type(value) is not str:
            raise _wrong_value(tensor, row, value)
    return data


_VALUES: Final[dict[str, Callable[[Tensor, Values], Values]]] = {
    **dict.fromkeys(_LARGEST, _floats),
    **dict.fromkeys(_INTEGERS, _integers),
    "BOOL": _booleans,
    "BYTES": _texts,
}


def _wrong_datatype(tensor: Tensor, accepted: frozenset[str]) -> RequestError:
    known = f"unknown datatype {tensor.datatype!r}" if tensor.datatype not in _VALUES else f"datatype {tensor.datatype}"
    wanted = "a number such as FP64" if accepted is _NUMBERS else " or ".join(sorted(accepted))
    return RequestError(f"tensor {tensor.name!r} has {known}: this model takes {wanted}")


def _wrong_value(tensor: Tensor, row: int, value: object) -> RequestError:
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    return RequestError(f"tensor {tensor.name!r}, value {row}: {shown} is no {tensor.datatype}")
