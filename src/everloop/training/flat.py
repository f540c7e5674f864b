"""Any estimator of scikit-learn over images, videos and other columns: all of them as one row of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from sklearn.base import BaseEstimator, clone

from everloop.training.export import OPSETS, matrix_to_onnx
from everloop.training.fronts import fit_fronts
from everloop.types import Column, Task

__all__ = ["Flat"]

MATRIX = "everloop_matrix"


class Flat(BaseEstimator):  # type: ignore[misc]
    """`model` sees pixels from 0 to 1, scaled numbers and a column a category, side by side.

    `frames` says what of a video it sees: every frame, or the mean of each pixel over them, or mean and deviation.
    """

    def __init__(self, model: Any, frames: Literal["all", "mean", "mean and deviation"] = "mean") -> None:
        self.model, self.frames = model, frames

    def fit(self, rows: pd.DataFrame, target: Any) -> Flat:
        """Fit a copy of the model to the rows as numbers."""
        self.fronts_ = fit_fronts(rows)
        self.model_ = clone(self.model).fit(self._matrix(rows), target)
        if hasattr(self.model_, "classes_"):
            self.classes_ = self.model_.classes_
        return self

    def predict(self, rows: pd.DataFrame) -> NDArray[Any]:
        """Return one answer a row."""
        return np.asarray(self.model_.predict(self._matrix(rows)))

    def predict_proba(self, rows: pd.DataFrame) -> NDArray[Any]:
        """Return one probability a class and row."""
        return np.asarray(self.model_.predict_proba(self._matrix(rows)))

    def to_onnx(self, inputs: Sequence[Column], task: Task) -> bytes:
        """Return the graph: the way into the model, then the model as its converter gives it."""
        graph, names = self.fronts_.graph(inputs)
        parts, width = [], 0
        graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "everloop_frames"))
        for part in self.fronts_.parts:
            for found in _pooled_nodes(graph, names[part.name], self.frames if len(part.shape) > 3 else "all"):
                graph.node.append(helper.make_node("Flatten", [found], [f"{found}_flat"], axis=1))
                parts.append(f"{found}_flat")
            width += _width(part.shape, self.frames)
        graph.node.append(helper.make_node("Concat", parts, [MATRIX], axis=1))
        inner = matrix_to_onnx(self.model_, MATRIX, width, task)
        graph.node.extend(inner.graph.node)
        graph.initializer.extend(inner.graph.initializer)
        graph.output.extend(inner.graph.output)
        lowest = {opset.domain: opset.version for opset in inner.opset_import}  # often lower than what was asked for
        opsets = {domain: max(OPSETS.get(domain, 0), lowest.get(domain, 0)) for domain in OPSETS | lowest}
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())],
            ir_version=inner.ir_version,
            producer_name="everloop",
        )
        onnx.checker.check_model(made)
        return bytes(made.SerializeToString(deterministic=True))

    def _matrix(self, rows: pd.DataFrame) -> NDArray[np.float32]:
        arrays = self.fronts_.arrays(rows)
        found = [part for array in arrays.values() for part in _pooled(array, self.frames if array.ndim > 4 else "all")]
        return np.hstack([part.reshape(len(rows), -1) for part in found])


def _pooled(array: NDArray[np.float32], frames: str) -> list[NDArray[np.float32]]:
    if frames == "all":
        return [array]
    mean = array.mean(axis=1, keepdims=True)
    if frames == "mean":
        return [mean]
    return [mean, np.sqrt(np.maximum((array * array).mean(axis=1, keepdims=True) - mean * mean, 0))]


def _pooled_nodes(graph: onnx.GraphProto, name: str, frames: str) -> list[str]:
    if frames == "all":
        return [name]

    def node(op: str, given: list[str], made: str) -> str:
        attributes = {"keepdims": 1} if op == "ReduceMean" else {}
        graph.node.append(helper.make_node(op, given, [f"{name}_{made}"], **attributes))
        return f"{name}_{made}"

    mean = node("ReduceMean", [name, "everloop_frames"], "mean")
    if frames == "mean":
        return [mean]
    squares = node("ReduceMean", [node("Mul", [name, name], "squared"), "everloop_frames"], "squares")
    spread = node("Relu", [node("Sub", [squares, node("Mul", [mean, mean], "mean_squared")], "variance")], "positive")
    return [mean, node("Sqrt", [spread], "deviation")]


def _width(shape: tuple[int, ...], frames: str) -> int:
    if len(shape) < 4 or frames == "all":
        return int(np.prod(shape))
    return int(np.prod(shape[1:])) * (1 if frames == "mean" else 2)
