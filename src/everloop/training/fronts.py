"""The way into a model: columns of a table as arrays of float32, by numpy in training, by the same steps in the graph.

A number loses its mean and is divided by its deviation, a missing one is usual; a category is one of those that were
seen, or another one; a pixel is a number from 0 to 1, channels first. A matrix, which earlier steps of a pipeline made
of the table, is taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from everloop.errors import UsageError
from everloop.types import Column

__all__ = ["MATRIX", "Fronts", "Part", "fit_fronts"]

Floats = NDArray[np.float32]
MATRIX = "features"
"""What a matrix is called where a network and a graph ask for columns."""
MOST = 1000
"""Categories of a column; of more it is free text, which a pipeline of scikit-learn takes."""
_TYPES = {
    "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64, "bool": TensorProto.BOOL,
    "string": TensorProto.STRING, "uint8": TensorProto.UINT8,
}  # fmt: skip


class Part(msgspec.Struct, frozen=True):
    """One column: its name, the shape of one row of its array, and what was learnt of its values."""

    name: str
    shape: tuple[int, ...]
    mean: float = 0.0
    scale: float = 1.0
    words: tuple[str, ...] | None = None
    matrix: bool = False


class Fronts(msgspec.Struct, frozen=True):
    """What was learnt of each column, in the order of the table."""

    parts: tuple[Part, ...]

    def arrays(self, rows: pd.DataFrame | Floats) -> dict[str, Floats]:
        """Return one array a column, of shape (rows, *shape)."""
        if isinstance(rows, np.ndarray):
            return {MATRIX: rows}
        return {part.name: _array(part, rows[part.name]) for part in self.parts}

    def graph(self, inputs: Sequence[Column]) -> tuple[onnx.GraphProto, dict[str, str]]:
        """Return the steps as a graph of the model's inputs, and the name of each column's array in it."""
        graph, names = onnx.GraphProto(name="model"), dict[str, str]()
        columns = {column.name: column for column in inputs}
        if self.parts[0].matrix:
            graph.input.append(helper.make_tensor_value_info(MATRIX, TensorProto.FLOAT, [None, *self.parts[0].shape]))
            return graph, {MATRIX: MATRIX}
        for place, part in enumerate(self.parts):
            column = columns[part.name]
            shape = [None, *(column.shape or (1,))]
            graph.input.append(helper.make_tensor_value_info(column.name, _TYPES[column.dtype], shape))
            names[part.name] = _add(graph, f"everloop_front{place}", part, column)
        return graph, names


def fit_fronts(rows: pd.DataFrame | Floats) -> Fronts:
    """Return what a table shows of its columns: arrays, texts, or numbers."""
    if isinstance(rows, np.ndarray):
        return Fronts((Part(MATRIX, (rows.shape[1],), matrix=True),))
    return Fronts(tuple(_fitted(str(name), rows[name]) for name in rows.columns))


def _fitted(name: str, values: pd.Series[Any]) -> Part:
    first = values.iloc[0]
    if isinstance(first, np.ndarray):
        return Part(name, (*first.shape[:-3], first.shape[-1], *first.shape[-3:-1]))
    if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
        words = tuple(sorted({str(value) for value in values}))
        if len(words) > MOST:
            raise UsageError(
                f"column {name!r} holds {len(words)} different texts: count words before it (TfidfVectorizer)"
            )
        return Part(name, (len(words) + 1,), words=words)
    numbers = values.to_numpy(dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    spread = float(known.std()) if len(known) else 0.0
    return Part(name, (1,), float(known.mean()) if len(known) else 0.0, spread or 1.0)


def _array(part: Part, values: pd.Series[Any]) -> Floats:
    if len(part.shape) > 1:
        pixels = np.stack(values.tolist()) if len(values) else np.zeros((0, *part.shape[:-3], *part.shape[-2:], 1))
        return np.moveaxis(pixels.astype(np.float32), -1, -3) / np.float32(255)
    if part.words is not None:
        place = {word: index for index, word in enumerate(part.words)}
        codes = [place.get(str(value), len(part.words)) for value in values]
        return np.eye(part.shape[0], dtype=np.float32)[codes]
    numbers = (values.to_numpy(dtype=np.float64)[:, None] - part.mean) / part.scale
    return np.where(np.isnan(numbers), 0.0, numbers).astype(np.float32)


def _add(graph: onnx.GraphProto, prefix: str, part: Part, column: Column) -> str:
    """Add the nodes of one column; returns the name of its array."""

    def constant(name: str, value: Any, dtype: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), f"{prefix}_{name}"))
        return f"{prefix}_{name}"

    def node(op: str, given: list[str], made: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(op, given, [f"{prefix}_{made}"], **attributes))
        return f"{prefix}_{made}"

    if len(part.shape) > 1:
        rank = len(column.shape) + 1
        order = [*range(rank - 3), rank - 1, rank - 3, rank - 2]
        pixels = node("Transpose", [node("Cast", [column.name], "cast", to=TensorProto.FLOAT)], "turned", perm=order)
        return node("Div", [pixels, constant("most", 255, np.float32)], "pixels")
    if part.words is not None:
        codes = node(
            "LabelEncoder", [column.name], "codes", domain="ai.onnx.ml", keys_strings=list(part.words),
            values_int64s=list(range(len(part.words))), default_int64=len(part.words),
        )  # fmt: skip
        flat = node("Reshape", [codes, constant("flat", [-1], np.int64)], "places")
        return node("Gather", [constant("table", np.eye(part.shape[0]), np.float32), flat], "words", axis=0)
    numbers = column.name
    if column.dtype != "float64":
        numbers = node("Cast", [numbers], "cast", to=TensorProto.DOUBLE)
    centred = node("Sub", [numbers, constant("mean", part.mean, np.float64)], "centred")
    scaled = node("Div", [centred, constant("scale", part.scale, np.float64)], "scaled")
    usual = node("Where", [node("IsNaN", [scaled], "missing"), constant("nothing", 0, np.float64), scaled], "usual")
    return node("Cast", [usual], "number", to=TensorProto.FLOAT)
