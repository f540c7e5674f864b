"""TensorBoard's event files of a run: scalars, histograms and the graph, written whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from everloop.tracking.record import Judged, RunRecord

__all__ = ["write_events"]

PARTS = 20
"""Steps of a histogram: as many equal parts of the judged rows, oldest first."""
GRAPH = "model.onnx"


def write_events(folder: Path, record: RunRecord) -> Path:
    """Write what a run came to into the new folder `<folder>/<model>/<run>` and return it; one that is there stays."""
    place = folder / record.model / record.id
    if place.exists():
        return place
    from tensorboardX import SummaryWriter

    partial = folder.with_name(f".{folder.name}-partial") / record.id
    shutil.rmtree(partial, ignore_errors=True)
    time = record.started if record.finished is None else record.finished
    with SummaryWriter(str(partial), write_to_disk=True) as writer:
        for curve in record.curves:
            for step, value in zip(curve.steps, curve.values, strict=True):
                writer.add_scalar(f"loss/{curve.name}", value, step, walltime=time)
        for name, value in record.metrics.items():
            writer.add_scalar(f"metrics/{name}", value, 0, walltime=time)
        if record.judged is not None:
            _add_histograms(writer, record.judged, time)
        if record.bundle is not None and GRAPH in record.bundle.files:
            writer.file_writer.add_onnx_graph(_graph(record.bundle.read(GRAPH)), walltime=time)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(place)
    return place


def _add_histograms(writer: Any, judged: Judged, time: float) -> None:
    """Add how out-of-time answers were distributed over time: values with their errors, or the true class's chance."""
    answers, truth = judged.answers, judged.truth
    if judged.task == "regression":
        shown = {"answer": answers, "truth": truth.astype(np.float64), "error": answers - truth}
    else:
        shown = {"probability_of_the_truth": answers[np.arange(len(truth)), truth.astype(np.int64)]}
    for step, rows in enumerate(np.array_split(np.arange(len(truth)), min(PARTS, len(truth)))):
        for name, values in shown.items():
            if len(finite := values[rows][np.isfinite(values[rows])]):
                writer.add_histogram(f"out_of_time/{name}", finite, step, walltime=time)


def _graph(model: bytes) -> Any:
    """Return an ONNX graph as TensorBoard draws one: its nodes by their first output, without their parameters."""
    import onnx
    from tensorboardX.proto.graph_pb2 import GraphDef
    from tensorboardX.proto.node_def_pb2 import NodeDef
    from tensorboardX.proto.versions_pb2 import VersionDef

    graph = onnx.load_model_from_string(model).graph
    made = {output: node.output[0] for node in graph.node for output in node.output}
    constants = {one.name for one in graph.initializer}
    nodes = [NodeDef(name=one.name, op="Input") for one in graph.input if one.name not in constants]
    nodes += [
        NodeDef(
            name=node.output[0],
            op=node.op_type,
            input=[made.get(name, name) for name in node.input if name and name not in constants],
        )
        for node in graph.node
    ]
    return GraphDef(node=nodes, versions=VersionDef(producer=22))
