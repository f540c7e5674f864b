"""One ONNX graph of several: a mean of members, each perhaps corrected by a level, its time index held still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from everloop.types import Column, Task

__all__ = ["TIME_INDEX", "GraphPart", "merge"]

TIME_INDEX = "everloop_time_index"
"""Input that a member trained with a time index has; the merged graph holds it at the newest training time."""


class GraphPart(msgspec.Struct, frozen=True):
    """One member: its graph (`everloop.training.export`), its level, the value its time index is held at."""

    graph: bytes
    level: tuple[float, ...] | None = None
    time_index: float | None = None


def merge(parts: Sequence[GraphPart], inputs: Sequence[Column], task: Task, classes: Sequence[Any]) -> bytes:
    """Return the graph that answers with the mean of its parts (regression: value, classification: probability).

    Inputs and outputs keep the names and types of a single exported model.
    """
    if len(parts) == 1 and parts[0].level is None and parts[0].time_index is None:
        return parts[0].graph
    models = [compose.add_prefix(onnx.load_model_from_string(p.graph), f"part{i}_") for i, p in enumerate(parts)]
    graph = onnx.GraphProto(name="team")
    shared = {value.name: value for value in onnx.load_model_from_string(parts[0].graph).graph.input}
    graph.input.extend(shared[column.name] for column in inputs)
    answers = [_add(graph, i, m, p, inputs, task) for i, (m, p) in enumerate(zip(models, parts, strict=True))]
    _answer(graph, answers, task, classes)
    opsets: dict[str, int] = {}
    for model in models:
        for opset in model.opset_import:
            opsets[opset.domain] = max(opsets.get(opset.domain, 1), opset.version)
    merged = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())],
        ir_version=max(m.ir_version for m in models),
        producer_name="everloop",
    )
    return bytes(merged.SerializeToString(deterministic=True))


def _add(
    graph: onnx.GraphProto, index: int, model: onnx.ModelProto, part: GraphPart, inputs: Sequence[Column], task: Task
) -> str:
    """Add one member's nodes, fed by the shared inputs; returns the name of its corrected answer."""
    prefix = f"part{index}_"
    names = {f"{prefix}{column.name}": column.name for column in inputs}
    if part.time_index is not None:
        _hold(graph, prefix, inputs, part.time_index)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        graph.node.append(node)
    graph.initializer.extend(model.graph.initializer)
    answer = prefix + ("prediction" if task == "regression" else "probability")
    if part.level is None:
        return answer
    kind = next(v.type.tensor_type.elem_type for v in model.graph.output if v.name == answer)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph.initializer.append(numpy_helper.from_array(np.asarray(part.level, dtype=dtype), f"{prefix}level"))
    graph.node.append(helper.make_node("Mul", [answer, f"{prefix}level"], [f"{prefix}levelled"]))
    if task == "regression":
        return f"{prefix}levelled"
    _normalise(graph, f"{prefix}levelled", f"{prefix}corrected")
    return f"{prefix}corrected"


def _hold(graph: onnx.GraphProto, prefix: str, inputs: Sequence[Column], value: float) -> None:
    """Make the time index of every row `value`, in the shape of another input."""
    constant = numpy_helper.from_array(np.array([value], dtype=np.float64))
    like = next((column.name for column in inputs if not column.shape), "")
    if like:
        graph.node.append(helper.make_node("Shape", [like], [f"{prefix}shape"]))
    else:  # images alone: as many rows, and one number in each
        graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), f"{prefix}one"))
        graph.node.append(helper.make_node("Shape", [inputs[0].name], [f"{prefix}rows"], start=0, end=1))
        graph.node.append(helper.make_node("Concat", [f"{prefix}rows", f"{prefix}one"], [f"{prefix}shape"], axis=0))
    graph.node.append(
        helper.make_node("ConstantOfShape", [f"{prefix}shape"], [f"{prefix}{TIME_INDEX}"], value=constant)
    )


def _normalise(graph: onnx.GraphProto, name: str, result: str) -> None:
    axes = f"{result}_axes"
    graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), axes))
    graph.node.append(helper.make_node("ReduceSum", [name, axes], [f"{result}_sum"], keepdims=1))
    graph.node.append(helper.make_node("Div", [name, f"{result}_sum"], [result]))


def _answer(graph: onnx.GraphProto, answers: Sequence[str], task: Task, classes: Sequence[Any]) -> None:
    if task == "regression":
        graph.node.append(helper.make_node("Mean", list(answers), ["prediction"]))
        graph.output.append(helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1]))
        return
    graph.node.append(helper.make_node("Mean", list(answers), ["probability"]))
    graph.node.append(helper.make_node("ArgMax", ["probability"], ["everloop_best"], axis=1, keepdims=0))
    text = isinstance(classes[0], str)
    kind = TensorProto.STRING if text else TensorProto.INT64
    values = [str(c).encode() for c in classes] if text else [int(c) for c in classes]
    graph.initializer.append(helper.make_tensor("everloop_classes", kind, [len(classes)], values))
    graph.node.append(helper.make_node("Gather", ["everloop_classes", "everloop_best"], ["label"]))
    graph.output.append(helper.make_tensor_value_info("label", kind, [None]))
    graph.output.append(helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, len(classes)]))
