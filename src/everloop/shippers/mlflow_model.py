"""A version's graph as a model of MLflow's own: with its signature, to be loaded there by name."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["GRAPH", "write_model"]

GRAPH = "model.onnx"


def write_model(graph: bytes, folder: Path) -> None:
    """Write the graph and the signature of its inputs and outputs into a new folder, as `mlflow.onnx` reads it."""
    import onnx

    with warnings.catch_warnings():  # of MLflow's own functions, as they are imported
        warnings.filterwarnings("ignore", ".*type hint", UserWarning)
        import mlflow.onnx
        import mlflow.pyfunc
        from mlflow.models import ModelSignature

    model = onnx.load_model_from_string(graph)
    mlflow.onnx.save_model(
        model,
        str(folder),
        signature=ModelSignature(_schema(model.graph.input), _schema(model.graph.output)),
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime")],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )


def _schema(values: Iterable[Any]) -> Any:
    from mlflow.types import Schema, TensorSpec
    from onnx import TensorProto, helper

    specs = []
    for value in values:
        tensor = value.type.tensor_type
        text = tensor.elem_type == TensorProto.STRING
        kind = np.dtype(str) if text else helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        specs.append(TensorSpec(kind, tuple(d.dim_value or -1 for d in tensor.shape.dim), value.name))
    return Schema(specs)
