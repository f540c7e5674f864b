"""Columns of plain values to arrays, each error naming the column and the row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.errors import RequestError, close_match
from everloop.inference.media import arrays_of
from everloop.types import Column

__all__ = ["ColumnReader", "columns_from_lists", "tensor_of", "unknown_categories"]

Array = NDArray[Any]
DTYPES: dict[str, Any] = {
    "float64": np.float64, "int64": np.int64, "bool": np.bool_, "string": object, "uint8": np.uint8
}  # fmt: skip
_FLOAT_ONLY = frozenset((float,))


class ColumnReader:
    """Turns the columns of one model into arrays, each of the column's dtype (text as objects), equally long."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns, self._names = columns, [c.name for c in columns]
        self._floats = all(c.dtype == "float64" and not c.shape for c in columns)

    def feeds(self, values: Mapping[str, list[Any]]) -> dict[str, Array]:
        """Return what the graph takes: one array a column, of shape [rows, 1] where the column is a scalar.

        None is NaN in a float64 column and refused elsewhere; whole numbers are numbers, booleans are not.
        """
        if self._floats and (found := self._plain(values)) is not None:
            return found
        arrays = columns_from_lists(self._columns, values)
        return {name: array[:, None] if array.ndim == 1 else array for name, array in arrays.items()}

    def _plain(self, values: Mapping[str, list[Any]]) -> dict[str, Array] | None:
        """Return the usual case, floats in every column, by one conversion; None for all else."""
        if len(values) != len(self._names):
            return None
        try:
            lists = [values[name] for name in self._names]
        except KeyError:
            return None
        flat = list(chain.from_iterable(lists))
        if not _FLOAT_ONLY.issuperset(map(type, flat)) or len(set(map(len, lists))) != 1:
            return None
        return dict(zip(self._names, np.array(flat, dtype=np.float64).reshape(len(lists), -1, 1), strict=True))


def tensor_of(column: Column, values: Any) -> Array:
    """Return what the graph takes of values that are right: shape (rows, 1), or (rows, *shape) of images and videos."""
    if column.prepare is not None:
        return arrays_of(column, values)
    array = np.asarray(values, dtype=DTYPES[column.dtype])
    return array.reshape(-1, 1) if not column.shape else array


def columns_from_lists(columns: Sequence[Column], values: Mapping[str, list[Any]]) -> dict[str, Array]:
    """Return one array a column, as `ColumnReader` does, where those of scalars have shape [rows]."""
    if len(values) != len(columns):
        _refuse_names(columns, values)
    arrays: dict[str, Array] = {}
    rows = -1
    for column in columns:
        given = values.get(column.name)
        if given is None:
            _refuse_names(columns, values)
            raise RequestError(f"column {column.name!r} is missing")
        if rows < 0:
            rows = len(given)
        elif len(given) != rows:
            raise RequestError(f"column {column.name!r} has {len(given)} values, the others have {rows}")
        if column.prepare is not None:
            arrays[column.name] = arrays_of(column, given)
        else:
            arrays[column.name] = _CONVERT[column.dtype](column.name, given)
    return arrays


def unknown_categories(columns: Sequence[Column], arrays: Mapping[str, Array]) -> dict[str, list[Any]]:
    """Return, by column, the values that training never saw in a categorical column; a missing number is none."""
    unknown = {}
    for column in columns:
        if column.categories is None:
            continue
        found = [
            v for v in dict.fromkeys(arrays[column.name].ravel().tolist()) if v == v and v not in column.categories
        ]
        if found:
            unknown[column.name] = found
    return unknown


def _floats(name: str, given: list[Any]) -> Array:
    for row, value in enumerate(given):
        kind = type(value)
        if kind is not float and kind is not int and value is not None:
            raise _wrong(name, row, value, "a number")
    try:
        return np.array(given, dtype=np.float64)
    except OverflowError:
        raise RequestError(f"column {name!r} holds a number too large for 64 bits") from None


def _integers(name: str, given: list[Any]) -> Array:
    for row, value in enumerate(given):
        whole = type(value) is int or (type(value) is float and value.is_integer())
        if not whole or not -(2**63) <= value < 2**63:
            raise _wrong(name, row, value, "a whole number of 64 bits")
    return np.array(given, dtype=np.int64)


def _booleans(name: str, given: list[Any]) -> Array:
    for row, value in enumerate(given):
        if type(value) is not bool:
            raise _wrong(name, row, value, "true or false")
    return np.array(given, dtype=np.bool_)


def _strings(name: str, given: list[Any]) -> Array:
    for row, value in enumerate(given):
        if type(value) is not str:
            raise _wrong(name, row, value, "text")
    return np.array(given, dtype=object)


_CONVERT: dict[str, Callable[[str, list[Any]], Array]] = {
    "float64": _floats,
    "int64": _integers,
    "bool": _booleans,
    "string": _strings,
}


def _wrong(name: str, row: int, value: Any, wanted: str) -> RequestError:
    try:
        shown = repr(str(value)[:40])
    except ValueError:  # Python prints no whole number of thousands of digits
        shown = f"a whole number of {value.bit_length()} bits"
    return RequestError(f"column {name!r}, row {row}: {shown} is not {wanted}")


def _refuse_names(columns: Sequence[Column], values: Mapping[str, Any]) -> None:
    names = [c.name for c in columns]
    if missing := [n for n in names if n not in values]:
        raise RequestError(f"column {missing[0]!r} is missing: the model takes {', '.join(names)}")
    if extra := [n for n in values if n not in names]:
        raise RequestError(f"unknown column {extra[0]!r}{close_match(extra[0], names)}")
