"""What a network makes of its inputs before it answers: the values that its last dense layer is given."""

from __future__ import annotations

import onnx

__all__ = ["HIDDEN", "with_hidden"]

HIDDEN = "everloop_hidden"
_DENSE = frozenset(("Gemm", "MatMul"))
_LAYERS = _DENSE | {"Conv", "GRU", "LSTM", "RNN"}


def with_hidden(graph: bytes) -> bytes | None:
    """Return the graph with one more output, `everloop_hidden`; None where it is no network with a hidden layer.

    A layer is a product with weights that the graph holds. In a mean of several models it is the last one's.
    """
    model = onnx.load_model_from_string(graph)
    nodes = list(model.graph.node)
    held = {tensor.name for tensor in model.graph.initializer}
    layers = [node for node in nodes if node.op_type in _LAYERS and any(name in held for name in node.input[1:])]
    last = next((node for node in reversed(layers) if node.op_type in _DENSE), None)
    if last is None or not _follows(last.input[0], [node for node in layers if node is not last], nodes):
        return None
    model.graph.node.append(onnx.helper.make_node("Identity", [last.input[0]], [HIDDEN]))
    model.graph.output.append(onnx.helper.make_tensor_value_info(HIDDEN, onnx.TensorProto.FLOAT, None))
    return bytes(model.SerializeToString())


def _follows(name: str, layers: list[onnx.NodeProto], nodes: list[onnx.NodeProto]) -> bool:
    """Return whether a value comes of one of the layers."""
    makers = {made: node for node in nodes for made in node.output}
    waiting, seen = [name], set[str]()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.output[0] in seen:
            continue
        if node in layers:
            return True
        seen.add(node.output[0])
        waiting += node.input
    return False
