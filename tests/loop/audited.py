"""A project without training: registered bundles, and a journal that a real plane wrote."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from tests.projects import write_project
from tests.serving.sites import RIDES, SHOP, named, rides_graph, shop_graph, write_bundle

from everloop import registry, store
from everloop.journal import TickWriter, Writer
from everloop.journal.machine import announce
from everloop.loop.workspace import Workspace, opened
from everloop.serving.clock import event_clock
from everloop.serving.explain import Explainer
from everloop.serving.metrics import Metrics
from everloop.serving.models import ModelLoader
from everloop.serving.plane import Context, Plane
from everloop.serving.protocol import FeedbackItem, InferRequest
from everloop.types import Column, Plan, Variant

NO_HEADERS: dict[str, str] = {}
PROBABILITY = (Column("label", "int64"), Column("probability", "float64", shape=(2,)))


@contextlib.contextmanager
def audited(folder: Path) -> Iterator[Workspace]:
    """Open a project with three versions: `v1` and `v2` of rides (v2 adds 1000), and `v3` of the shop."""
    with opened(write_project(folder / "project")) as workspace:
        with workspace.store.begin() as connection:
            run, data = store.run.insert(), store.data_version.insert()
            connection.execute(
                run.values(id="run-1", pipeline="retrain", status="finished", parameters={}, started=5.0)
            )
            connection.execute(
                data.values(id="data-1", artifact="a", rows=9, start=0.0, end=4.0, origin="files", created=5.0)
            )
            for number, offset in enumerate((0.0, 1000.0), 1):
                place = workspace.bundles / f"b{number}"
                write_bundle(place, workspace.key, workspace.name, rides_graph(offset), RIDES)
                register(connection, workspace, place)
            place = workspace.bundles / "b3"
            write_bundle(
                place, workspace.key, workspace.name, shop_graph(), SHOP,
                task="classification", classes=(0, 1), outputs=PROBABILITY,
            )  # fmt: skip
            register(connection, workspace, place)
        yield workspace


def register(connection: Any, workspace: Workspace, place: Path, run: str = "run-1") -> None:
    registry.register(
        connection, model=workspace.name, bundle=str(place), sha256=place.name, run=run, data_version="data-1",
        window={}, metrics={}, commit=None, verdict=None, time=6.0,
    )  # fmt: skip


def serve(workspace: Workspace, requests: Sequence[dict[str, Any]], version: str = "v1") -> list[str]:
    """Answer requests as a server does, in a segment of their own, and label each first row; returns their ids."""
    plan = Plan(1, workspace.name, (Variant(version, str(workspace.bundles / f"b{version[1:]}"), "champion", 1.0),))

    async def run() -> list[str]:
        writer = Writer(workspace.journal)
        announce(writer, 1.0)
        journal = TickWriter(writer)
        explainer = Explainer(workspace.keys, workspace.journal, 30.0)
        plane = Plane(ModelLoader(workspace.folder, workspace.keys), journal, event_clock, Metrics(), None, explainer)
        try:
            await plane.take(plan)
            ids = []
            for body in requests:
                body = {"parameters": {"time": 100.0}} | body
                answer = await plane.infer(msgspec.convert(body, InferRequest), Context(workspace.name, NO_HEADERS.get))
                ids.append(answer.parameters["prediction_id"])
                label = FeedbackItem(prediction=ids[-1], value=3.5, time=200.0)
                await plane.feedback(workspace.name, [label])
            return ids
        finally:
            await explainer.close()
            await journal.close()

    return asyncio.run(run())


def ride(hour: float, time: float = 100.0) -> dict[str, Any]:
    return named(hour, parameters={"time": time})


def purchase(price: float, city: str) -> dict[str, Any]:
    values = {"price": ("FP64", price), "count": ("INT64", 2), "member": ("BOOL", True), "city": ("BYTES", city)}
    inputs = [{"name": n, "shape": [1], "datatype": d, "data": [v]} for n, (d, v) in values.items()]
    return {"inputs": inputs}
