"""Small signed bundles made with onnx.helper, requests for them, and server processes that serve them."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
from onnx import TensorProto, checker, helper

from everloop import bundles
from everloop.bundles import Manifest, SigningKey
from everloop.journal import Reader, TickWriter, Writer
from everloop.serving.clock import Clock, event_clock
from everloop.serving.explain import Explainer
from everloop.serving.features import OnlineFeatures
from everloop.serving.limits import Limits
from everloop.serving.metrics import Metrics
from everloop.serving.models import ModelLoader
from everloop.serving.plan import write_plan
from everloop.serving.plane import Plane
from everloop.types import Column, Plan, Variant

Start = Callable[..., contextlib.AbstractContextManager["Server"]]

RIDES = (Column("hour", "float64"), Column("temp", "float64"), Column("hum", "float64"))
SHOP = (
    Column("price", "float64"),
    Column("count", "int64"),
    Column("member", "bool"),
    Column("city", "string", kind="categorical", categories=("Bonn", "Oslo")),
)


class Site:
    """A folder with keys and bundles in which servers run: model `rides` (v1 adds 0, v2 adds 1000) and `shop` (s1)."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plan, self.journal = folder, folder / "plan.json", folder / "journal"
        self.keys = folder / "keys"

    def write(self, generation: int, weight: float = 0.0, champion: str = "v1", **fields: Any) -> Plan:
        """Write a plan of `rides` whose candidate, the other version, has `weight`."""
        plan = rides_plan(generation, weight, champion, **fields)
        write_plan(self.plan, plan)
        return plan

    def records(self, kind: str) -> list[Any]:
        return [record for record in read_journal(self.journal) if record.kind == kind]


class Server:
    """A running server process."""

    def __init__(self, process: subprocess.Popen[str], url: str, grpc: str = "") -> None:
        self.process, self.url, self.grpc, self.pid = process, url, grpc, process.pid
        self.infer = f"{url}/v2/models/rides/infer"
        self.feedback = f"{url}/v2/models/rides/feedback"


def rides_plan(generation: int, weight: float = 0.0, champion: str = "v1", **fields: Any) -> Plan:
    candidate = "v2" if champion == "v1" else "v1"
    variants = (
        Variant(champion, f"bundles/{champion}", "champion", 1.0 - weight),
        Variant(candidate, f"bundles/{candidate}", "candidate", weight),
    )
    return Plan(generation=generation, model="rides", variants=variants, **fields)


def named(hour: float, **fields: Any) -> dict[str, Any]:
    """Return a request of one row with named columns."""
    values = {"hour": hour, "temp": 0.5, "hum": 0.25}
    inputs = [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in values.items()]
    return {"inputs": inputs, **fields}


def read_journal(folder: Path) -> list[Any]:
    with contextlib.closing(Reader(folder)) as reader:
        found = []
        while records := reader.poll(10_000):
            found += records
        return found


def write_bundle(
    folder: Path,
    key: SigningKey,
    name: str,
    graph: bytes,
    inputs: Sequence[Column],
    beside: Mapping[str, bytes] | None = None,
    **fields: Any,
) -> None:
    values: dict[str, Any] = {
        "name": name,
        "task": "regression",
        "inputs": tuple(inputs),
        "outputs": (Column("prediction", "float64"),),
        "run": "run-1",
        "data_version": "data-1",
        "commit": None,
        "window": {},
        "metrics": {},
        "created": 1.0,
        "files": {},
    }
    content = {"model.onnx": graph, "reference.npz": reference(inputs), **(beside or {})}
    bundles.write(folder, Manifest(**{**values, **fields}), content, key)


def reference(columns: Sequence[Column]) -> bytes:
    """Return twelve rows as a bundle keeps them."""
    usual: dict[str, list[Any]] = {
        "float64": [n / 4 for n in range(12)],
        "int64": list(range(12)),
        "bool": [True, False] * 6,
        "string": ["Bonn"] * 12,
    }
    out, inputs = io.BytesIO(), {f"input:{c.name}": np.array(usual[c.dtype]) for c in columns}
    np.savez(out, allow_pickle=False, target=np.zeros(12), answers=np.zeros(12), time=np.arange(12.0), **inputs)
    return out.getvalue()


def rides_graph(offset: float, names: Sequence[str] = ("hour", "temp", "hum")) -> bytes:
    """Return a graph that answers the sum of its columns plus `offset`."""
    nodes = [
        helper.make_node("Sum", list(names), ["sum"]),
        helper.make_node("Constant", [], ["offset"], value=helper.make_tensor("o", TensorProto.DOUBLE, [1], [offset])),
        helper.make_node("Add", ["sum", "offset"], ["prediction"]),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, [None, 1]) for n in names]
    return _model(nodes, inputs, [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None, 1])])


def seven_rows_graph() -> bytes:
    """Return a graph of `rides` that answers seven rows at a time and no other number."""
    nodes = [
        helper.make_node("Sum", ["hour", "temp", "hum"], ["sum"]),
        helper.make_node("Constant", [], ["shape"], value=helper.make_tensor("s", TensorProto.INT64, [2], [7, 1])),
        helper.make_node("Reshape", ["sum", "shape"], ["prediction"]),
    ]
    inputs = [helper.make_tensor_value_info(c.name, TensorProto.DOUBLE, [None, 1]) for c in RIDES]
    return _model(nodes, inputs, [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None, 1])])


def shop_graph() -> bytes:
    """Return a two-class graph over a number, a count, a flag and a city."""
    cast = [
        helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT) for name in ("price", "count", "member")
    ]
    nodes = [
        *cast,
        helper.make_node(
            "LabelEncoder",
            ["city"],
            ["city_f"],
            domain="ai.onnx.ml",
            keys_strings=["Bonn", "Oslo"],
            values_floats=[1.0, 2.0],
            default_float=0.0,
        ),
        helper.make_node("Sum", ["price_f", "count_f", "member_f", "city_f"], ["score"]),
        helper.make_node("Neg", ["score"], ["minus"]),
        helper.make_node("Concat", ["minus", "score"], ["both"], axis=1),
        helper.make_node("Softmax", ["both"], ["probability"], axis=1),
        helper.make_node("ArgMax", ["probability"], ["label"], axis=1, keepdims=0),
    ]
    types = (TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING)
    inputs = [helper.make_tensor_value_info(c.name, t, [None, 1]) for c, t in zip(SHOP, types, strict=True)]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, 2]),
    ]
    return _model(nodes, inputs, outputs)


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> bytes:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(helper.make_graph(nodes, "test", inputs, outputs), opset_imports=opsets, ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


@contextlib.asynccontextmanager
async def open_plane(
    site: Site,
    clock: Clock = event_clock,
    metrics: Metrics | None = None,
    limits: Limits | None = None,
    features: OnlineFeatures | None = None,
) -> AsyncIterator[Plane]:
    writer = Writer(site.journal)
    journal = TickWriter(writer)
    explainer = Explainer(site.keys, site.journal, 30.0)
    try:
        loader = ModelLoader(site.folder, site.keys)
        yield Plane(loader, journal, clock, metrics or Metrics(), limits, explainer, features)
    finally:
        await explainer.close()
        await journal.close()


def launch(site: Site, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    paths = ("--plan", str(site.plan), "--journal", str(site.journal), "--keys", str(site.keys))
    port = () if "--port" in options else ("--port", "0")
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "everloop.serving", *paths, "--root", str(site.folder), *port, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def error_of(answer: httpx.Response) -> str:
    """Return the sentence of an error answer, whose body must hold nothing else."""
    body = msgspec.json.decode(answer.content, type=dict[str, str])
    assert list(body) == ["error"]
    return body["error"]
