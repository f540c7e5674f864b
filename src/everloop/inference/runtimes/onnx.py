"""ONNX Runtime in process: one thread by default, so that equal inputs of equal shape give equal bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from everloop.errors import BundleError, RequestError

__all__ = ["OnnxRuntime"]


class OnnxRuntime:
    """A session over the bytes of a graph."""

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4  # a refused request is raised: it need not fill the log as well
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class
            raise BundleError(f"ONNX Runtime does not load the graph: {_first_line(error)}") from error
        # The Python face of a session compares all names at every call; a model has done so once.
        self._run = getattr(self._session, "_sess", self._session).run
        self.inputs = tuple(i.name for i in self._session.get_inputs())
        self.outputs = tuple(o.name for o in self._session.get_outputs())
        self._names = list(self.outputs)

    def predict(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the graph's outputs by name; raises `RequestError` where the graph refuses the tensors."""
        try:
            found = self._run(self._names, feeds, None)
        except Exception as error:
            raise RequestError(f"the model refuses the input: {_first_line(error)}") from error
        return dict(zip(self.outputs, found, strict=True))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
