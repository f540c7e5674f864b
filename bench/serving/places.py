"""What the bench serves: a signed bundle of a linear model over 12 columns, and a plan."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper

from everloop import bundles
from everloop.bundles import Manifest, SigningKey
from everloop.serving.plan import write_plan
from everloop.types import Column, Plan, Variant

COLUMNS = [f"x{i}" for i in range(12)]


def write_site(folder: Path) -> None:
    """Write a signed bundle of a small linear model over 12 columns, and a plan that serves it."""
    nodes = [
        helper.make_node("Concat", COLUMNS, ["row"], axis=1),
        helper.make_node("MatMul", ["row", "weights"], ["prediction"]),
    ]
    weights = helper.make_tensor("weights", TensorProto.DOUBLE, [12, 1], [0.1 * i for i in range(12)])
    inputs = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, [None, 1]) for n in COLUMNS]
    outputs = [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None, 1])]
    graph = helper.make_graph(nodes, "bench", inputs, outputs, initializer=[weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    columns = tuple(Column(n, "float64") for n in COLUMNS)
    manifest = Manifest(
        name="rides",
        task="regression",
        inputs=columns,
        outputs=(Column("prediction", "float64"),),
        run="run-1",
        data_version="data-1",
        created=0.0,
    )
    key = SigningKey.create(folder / "keys")
    bundles.write(folder / "bundles" / "v1", manifest, {"model.onnx": model.SerializeToString()}, key)
    bundles.write(folder / "bundles" / "v2", manifest, {"model.onnx": model.SerializeToString()}, key)
    variants = (Variant("v1", "bundles/v1", "champion", 0.5), Variant("v2", "bundles/v2", "candidate", 0.5))
    write_plan(folder / "plan.json", Plan(1, "rides", variants, sticky_by="header:x-user"))


def site_options(folder: Path) -> list[str]:
    places = {"plan": "plan.json", "journal": "journal", "keys": "keys", "root": "."}
    return [f"--{name}={folder / place}" for name, place in places.items()]
