"""The graphs of guards, made node by node: few and plain, since a node costs about as much as its work on one row.

Each takes matrices, where it needs them: `numbers` (FP64: the columns of numbers and flags, in the model's order, then
what `pooled` says of images and videos), `words` (STRING: those of text) and `answer` (FP64: the model's value or
probabilities); it gives `score` (FP64, [rows, 1]). `fuse` puts them behind the model, in one graph that takes the
model's own columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from everloop.inference.guards import score_of
from everloop.inference.media import media_of
from everloop.types import Column, Task

__all__ = ["Distance", "distance_graph", "fuse", "numbers_of", "pooled", "squeeze_graph", "words_of"]

OPSETS = {"": 19, "ai.onnx.ml": 3}
GRID = 4
Floats = NDArray[np.float64]


class Distance(msgspec.Struct, frozen=True):
    """What the distance to prototypes needs: one entry a dimension, numbers first, then words.

    `fill` replaces a missing number (None: training saw none); `rarity` maps each value of a column of words to what
    stands for it, `unseen` what stands for any other; `words` is how many columns of text the table has, `places` which
    of them count.
    """

    numbers: int
    mean: Floats
    scale: Floats
    prototypes: Floats
    fill: Floats | None = None
    words: int = 0
    places: tuple[int, ...] = ()
    rarity: tuple[Mapping[str, float], ...] = ()
    unseen: float = 0.0


def numbers_of(inputs: Sequence[Column]) -> list[Column]:
    """Return the columns of numbers and flags."""
    return [c for c in inputs if not c.shape and c.dtype != "string"]


def words_of(inputs: Sequence[Column]) -> list[Column]:
    """Return the columns of text."""
    return [c for c in inputs if not c.shape and c.dtype == "string"]


def pooled(arrays: NDArray[Any]) -> Floats:
    """Return the mean and the deviation of brightness in each of 4 by 4 parts of images, or of all frames of videos."""
    rows, (height, width, channels) = len(arrays), arrays.shape[-3:]
    down, right = _part_of(height), _part_of(width)
    x = arrays.astype(np.float64).reshape(rows, -1, height, width, channels).transpose(0, 1, 4, 2, 3)
    x = x.reshape(rows, -1, height, width)[:, :, : height // down * down, : width // right * right]
    parts = x.reshape(rows, x.shape[1], height // down, down, width // right, right)
    means = parts.mean(axis=(1, 3, 5))
    spread = (parts**2).mean(axis=(1, 3, 5)) - means**2
    return np.hstack([means.reshape(rows, -1), np.sqrt(np.maximum(spread, 0)).reshape(rows, -1)])


def _part_of(length: int) -> int:
    return max(1, length // GRID)


class _Nodes:
    """Nodes and constants of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []

    def take(self, name: str, kind: int, width: int | None) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, [None, width]))
        return name

    def constant(self, name: str, value: Any, dtype: Any = np.float64) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def finish(self, opsets: Mapping[str, int], ir_version: int = 9) -> bytes:
        score = helper.make_tensor_value_info("score", TensorProto.DOUBLE, [None, 1])
        graph = helper.make_graph(self.nodes, "guard", self.inputs, [score], self.constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())],
            ir_version=ir_version,
            producer_name="everloop",
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def distance_graph(fitted: Distance) -> bytes:
    """Return the graph of the squared distance to the nearest prototype, in standard deviations of each column."""
    n = _Nodes()
    parts = []
    if fitted.numbers:
        numbers = n.take("numbers", TensorProto.DOUBLE, fitted.numbers)
        if fitted.fill is not None:
            missing = n.add("IsNaN", [numbers], "missing")
            numbers = n.add("Where", [missing, n.constant("fill", fitted.fill[None]), numbers], "filled")
        parts.append(numbers)
    if fitted.places:
        parts.append(_rarity(n, fitted))
    values = parts[0] if len(parts) == 1 else n.add("Concat", parts, "values", axis=1)
    centred = n.add("Sub", [values, n.constant("mean", fitted.mean[None])], "centred")
    z = n.add("Mul", [centred, n.constant("inverse", 1.0 / fitted.scale[None])], "z")
    # |z - p|^2 = |z|^2 + (|p|^2 - 2 z.p): one product for all prototypes.
    squares = n.constant("squares", (fitted.prototypes**2).sum(axis=1))
    products = n.add("Gemm", [z, n.constant("prototypes", -2.0 * fitted.prototypes.T), squares], "products")
    axis = n.constant("axis", [1], np.int64)
    nearest = n.add("ReduceMin", [products, axis], "nearest", keepdims=1)
    length = n.add("ReduceSumSquare", [z, axis], "length", keepdims=1)
    n.add("Add", [nearest, length], "score")
    return n.finish(OPSETS)


def fuse(graph: bytes, guards: Mapping[str, bytes], inputs: Sequence[Column], task: Task) -> bytes:
    """Return the model's graph with the scores of `guards` (graphs by name) as further outputs.

    Inputs, nodes and outputs of the model stay as they are; the guards read its columns and its answer.
    """
    model = onnx.load_model_from_string(graph)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    shared: dict[str, str] = {}
    for name, guard in guards.items():
        prefix = f"{score_of(name)}_"
        added = compose.add_prefix(onnx.load_model_from_string(guard), prefix)
        feeds = {}
        for value in added.graph.input:
            kind = value.name.removeprefix(prefix)
            if kind not in shared:
                shared[kind] = _share(model.graph, kind, inputs, task)
            feeds[value.name] = shared[kind]
        output = score_of(name)
        for node in added.graph.node:
            node.input[:] = [feeds.get(used, used) for used in node.input]
            node.output[:] = [output if made == f"{prefix}score" else made for made in node.output]
        model.graph.node.extend(added.graph.node)
        model.graph.initializer.extend(added.graph.initializer)
        model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.DOUBLE, [None, 1]))
        opsets |= {o.domain: max(o.version, opsets.get(o.domain, 1)) for o in added.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items()))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _share(graph: onnx.GraphProto, kind: str, inputs: Sequence[Column], task: Task) -> str:
    """Add the nodes that make one of the guards' inputs out of the model's; returns its name."""
    name = f"everloop_guards_{kind}"
    if kind == "answer":
        answer = "prediction" if task == "regression" else "probability"
        graph.node.append(helper.make_node("Cast", [answer], [name], to=TensorProto.DOUBLE))
        return name
    parts = []
    for place, column in enumerate(numbers_of(inputs) if kind == "numbers" else words_of(inputs)):
        parts.append(column.name)
        if column.dtype in ("int64", "bool"):
            parts[-1] = f"{name}_{place}"
            graph.node.append(helper.make_node("Cast", [column.name], [parts[-1]], to=TensorProto.DOUBLE))
    for place, column in enumerate(media_of(inputs) if kind == "numbers" else []):
        parts += _pool(graph, f"{name}_media{place}", column)
    graph.node.append(helper.make_node("Concat", parts, [name], axis=1))
    return name


def _pool(graph: onnx.GraphProto, name: str, column: Column) -> list[str]:
    """Add the nodes of `pooled`; returns the names of means and deviations."""

    def node(op: str, given: Sequence[str], made: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(op, list(given), [f"{name}_{made}"], **attributes))
        return f"{name}_{made}"

    rank, (height, width) = len(column.shape) + 1, column.shape[-3:-1]
    graph.initializer.append(numpy_helper.from_array(np.array([0, -1, height, width], dtype=np.int64), f"{name}_shape"))
    graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), f"{name}_axis"))
    order = [*range(rank - 3), rank - 1, rank - 3, rank - 2]
    turned = node("Transpose", [node("Cast", [column.name], "cast", to=TensorProto.FLOAT)], "turned", perm=order)
    x = node("Reshape", [turned, f"{name}_shape"], "planes")
    part = [_part_of(height), _part_of(width)]
    found = []
    for what, values in (("mean", x), ("square", node("Mul", [x, x], "squared"))):
        cells = node("AveragePool", [values], f"{what}_cells", kernel_shape=part, strides=part)
        found.append(node("ReduceMean", [cells, f"{name}_axis"], f"{what}_of_all", keepdims=0))
    spread = node("Sub", [found[1], node("Mul", [found[0], found[0]], "mean_squared")], "variance")
    ends = (found[0], node("Sqrt", [node("Relu", [spread], "positive")], "deviation"))
    flat = [node("Flatten", [end], f"flat{place}", axis=1) for place, end in enumerate(ends)]
    return [node("Cast", [end], f"wide{place}", to=TensorProto.DOUBLE) for place, end in enumerate(flat)]


def _rarity(n: _Nodes, fitted: Distance) -> str:
    """Add the nodes that turn words into numbers: a code for each word of any column, then a table of both."""
    words = n.take("words", TensorProto.STRING, fitted.words)
    if len(fitted.places) < fitted.words:
        words = n.add("Gather", [words, n.constant("places", fitted.places, np.int64)], "counted", axis=1)
    known = sorted({word for column in fitted.rarity for word in column})
    n.add(
        "LabelEncoder", [words], "codes", domain="ai.onnx.ml", keys_strings=known,
        values_int64s=list(range(len(known))), default_int64=len(known),
    )  # fmt: skip
    width = len(known) + 1
    table = np.full((len(fitted.rarity), width), fitted.unseen)
    for place, column in enumerate(fitted.rarity):
        for word, value in column.items():
            table[place, known.index(word)] = value
    offsets = n.constant("offsets", [np.arange(len(fitted.rarity)) * width], np.int64)
    places = n.add("Add", ["codes", offsets], "entries")
    return n.add("Gather", [n.constant("rarity", table.reshape(-1)), places], "rarities")


def squeeze_graph(
    graph: bytes, inputs: Sequence[Column], ranges: Mapping[str, tuple[float, float]], task: Task, levels: int
) -> bytes:
    """Return the graph of how far the model's answer moves when each number is rounded to one of `levels`.

    The model's own graph is inside; `ranges` holds the span that the levels divide, by column of numbers. The score is
    the sum of absolute differences over the answer's columns (L1, as in the source of the method).
    """
    model = compose.add_prefix(onnx.load_model_from_string(graph), "model_")
    n = _Nodes()
    if numbers := numbers_of(inputs):
        taken = n.take("numbers", TensorProto.DOUBLE, len(numbers))
        _split(n, _squeeze(n, taken, numbers, ranges, levels), numbers)
    if words := words_of(inputs):
        _split(n, n.take("words", TensorProto.STRING, len(words)), words)
    n.nodes.extend(model.graph.node)
    n.constants.extend(model.graph.initializer)
    name = "model_prediction" if task == "regression" else "model_probability"
    squeezed = n.add("Cast", [name], "squeezed_answer", to=TensorProto.DOUBLE)
    difference = n.add("Sub", [n.take("answer", TensorProto.DOUBLE, None), squeezed], "difference")
    n.add("ReduceSum", [n.add("Abs", [difference], "moved"), n.constant("axis", [1], np.int64)], "score", keepdims=1)
    return n.finish({opset.domain: opset.version for opset in model.opset_import}, model.ir_version)


def _squeeze(
    n: _Nodes, numbers: str, columns: Sequence[Column], ranges: Mapping[str, tuple[float, float]], levels: int
) -> str:
    """Add the nodes that round a matrix of numbers; flags, whole-number columns and gaps stay as they are."""
    spans = np.array([ranges.get(c.name, (0.0, 0.0)) for c in columns])
    low, step = spans[:, 0], (spans[:, 1] - spans[:, 0]) / (levels - 1)
    counts = (np.array([c.dtype == "float64" for c in columns]) & (step > 0))[None]
    offset, width = n.constant("low", low[None]), n.constant("step", np.where(step > 0, step, 1.0)[None])
    bounds = [n.constant("first", 0.0), n.constant("last", float(levels - 1))]
    steps = n.add("Div", [n.add("Sub", [numbers, offset], "above"), width], "steps")
    level = n.add("Clip", [n.add("Round", [steps], "whole"), *bounds], "level")
    rounded = n.add("Add", [n.add("Mul", [level, width], "rise"), offset], "rounded")
    known = n.add("Not", [n.add("IsNaN", [numbers], "missing")], "known")
    moving = n.add("And", [known, n.constant("counts", counts, np.bool_)], "moving")
    return n.add("Where", [moving, rounded, numbers], "squeezed")


def _split(n: _Nodes, matrix: str, columns: Sequence[Column]) -> None:
    """Add the nodes that feed the model its columns out of a matrix."""
    casts = {"int64": TensorProto.INT64, "bool": TensorProto.BOOL}
    for place, column in enumerate(columns):
        target = f"model_{column.name}"
        found = f"found_{column.name}" if column.dtype in casts else target
        n.add("Gather", [matrix, n.constant(f"place_{column.name}", [place], np.int64)], found, axis=1)
        if column.dtype in casts:
            n.add("Cast", [found], target, to=casts[column.dtype])
