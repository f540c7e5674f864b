"""What the bench serves: signed bundles of a linear model over 12 columns, with guards, and two plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from onnx import TensorProto, helper

from everloop import bundles
from everloop.bundles import Manifest, SigningKey
from everloop.serving.plan import write_plan
from everloop.training.guards import Policies, make_guards
from everloop.types import Column, Plan, Variant

COLUMNS = [f"x{i}" for i in range(12)]


def write_site(folder: Path) -> None:
    """Write two plans of a linear model: with the schema guard, and (`guarded.json`) the outlier guard too."""
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
    key, graph = SigningKey.create(folder / "keys"), model.SerializeToString()
    rows = pd.DataFrame(np.random.default_rng(0).uniform(-20, 20, (4000, 12)), columns=COLUMNS)
    for plan, outlier in (("plan", "off"), ("guarded", "flag")):
        guards = make_guards(rows, columns, "regression", graph, Policies("flag", outlier, "off"))
        for version in ("v1", "v2"):
            bundles.write(folder / "bundles" / plan / version, manifest, {"model.onnx": graph, **guards}, key)
        variants = tuple(
            Variant(version, f"bundles/{plan}/{version}", role, 0.5)
            for version, role in (("v1", "champion"), ("v2", "candidate"))
        )
        write_plan(folder / f"{plan}.json", Plan(1, "rides", variants, sticky_by="header:x-user"))


def site_options(folder: Path, plan: str = "plan") -> list[str]:
    """Return the options of a server of one of the plans, with a journal of its own."""
    places = {"plan": f"{plan}.json", "journal": f"journal-of-{plan}", "keys": "keys", "root": "."}
    return [f"--{name}={folder / place}" for name, place in places.items()]
