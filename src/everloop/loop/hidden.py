"""The hidden layer of a network over images or videos, row by row: what the monitor looks at beside the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.inference import Model, media_of, tensor_of
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.training.hidden import HIDDEN, with_hidden
from everloop.types import Column

__all__ = ["HiddenLayer"]

Floats = NDArray[np.float64]
PART = 200


class HiddenLayer:
    """Gives the values of a model's hidden layer; `of` a model without images, videos or such a layer gives none."""

    def __init__(self, runtime: OnnxRuntime, columns: tuple[Column, ...]) -> None:
        self._runtime, self._columns = runtime, columns

    @classmethod
    def of(cls, model: Model) -> HiddenLayer | None:
        """Return the hidden layer of a model, where it is worth the work: beside images and videos."""
        columns = model.manifest.inputs
        if model.native or not media_of(columns):
            return None
        graph = with_hidden(model.bundle.read("model.onnx"))
        return None if graph is None else cls(OnnxRuntime(graph), columns)

    def values(self, rows: Mapping[str, Any], count: int) -> Floats:
        """Return (rows, values) of columns as the monitor holds them."""
        parts = [self._part(rows, slice(start, start + PART)) for start in range(0, count, PART)]
        return np.concatenate(parts) if parts else np.zeros((0, 1))

    def _part(self, rows: Mapping[str, Any], chosen: slice) -> Floats:
        found = self._runtime.predict({c.name: _feed(c, rows[c.name][chosen]) for c in self._columns})[HIDDEN]
        return found.reshape(len(found), -1).astype(np.float64)


def _feed(column: Column, values: Any) -> NDArray[Any]:
    return tensor_of(column, ["" if v is None else v for v in values] if column.dtype == "string" else values)
