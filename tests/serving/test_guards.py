"""Guards in the request path: what they find is in the answer, the journal and the metrics, by the policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pandas as pd
import pytest
from tests.serving.sites import RIDES, Site, Start, named, open_plane, read_journal, rides_graph, write_bundle

from everloop.bundles import SigningKey, trusted
from everloop.inference import Model
from everloop.inference.guards import RefusedError
from everloop.serving.batching import Batching
from everloop.serving.metrics import Metrics
from everloop.serving.models import ModelLoader
from everloop.serving.plan import write_plan
from everloop.serving.plane import Context, Plane
from everloop.serving.protocol import InferRequest, InferResponse
from everloop.training.guards import Policies, make_guards
from everloop.types import Plan, Prediction, Variant

NO_HEADERS: dict[str, str] = {}
USUAL, FAR, OUTSIDE = (12.0, 0.5), (12.0, 0.0), (40.0, 0.5)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with versions named by their policies; in training `temp` was near 0 or near 1 by the hour."""
    folder = tmp_path_factory.mktemp("guarded")
    key, rng = SigningKey.create(folder / "keys"), np.random.default_rng(0)
    hours = rng.integers(0, 24, 1200).astype(float)
    usual = rng.normal(0.5, 0.02, 1200)
    usual[::100] = 0.0
    rows = pd.DataFrame({"hour": np.where(usual == 0.0, 0.0, hours), "temp": usual, "hum": 0.25})
    for name, policies in {
        "flags": Policies("flag", "flag", "off"),
        "clips": Policies("clip", "off", "off"),
        "refuses": Policies("reject", "reject", "off"),
        "refuses-outliers": Policies("off", "reject", "off"),
    }.items():
        graph = rides_graph(0.0)
        files = make_guards(rows, RIDES, "regression", graph, policies)
        write_bundle(folder / "bundles" / name, key, "rides", graph, RIDES, files)
    return folder


@pytest.fixture
def site(tmp_path: Path, guarded: Path) -> Site:
    (tmp_path / "keys").symlink_to(guarded / "keys")
    (tmp_path / "bundles").symlink_to(guarded / "bundles")
    return Site(tmp_path)


def plan(version: str) -> Plan:
    """Return a plan of that version, with `clips` beside it."""
    champion, other = Variant(version, f"bundles/{version}", "champion", 1.0), "clips"
    beside = () if version == other else (Variant(other, f"bundles/{other}", "candidate", 0.0),)
    return Plan(generation=1, model="rides", variants=(champion, *beside))


def request(*rows: tuple[float, float]) -> dict[str, Any]:
    columns = {"hour": [r[0] for r in rows], "temp": [r[1] for r in rows], "hum": [0.25] * len(rows)}
    return {"inputs": [{"name": n, "shape": [len(v)], "datatype": "FP64", "data": v} for n, v in columns.items()]}


async def ask(plane: Plane, *rows: tuple[float, float]) -> InferResponse:
    body = request(*rows) | {"parameters": {"time": 100.0}}
    return await plane.infer(msgspec.convert(body, InferRequest), Context("rides", NO_HEADERS.get))


def journalled(site: Site) -> list[Prediction]:
    return [record.read(Prediction) for record in read_journal(site.journal)]


@pytest.mark.asyncio
async def test_what_is_flagged_is_answered_told_journalled_and_counted(site: Site) -> None:
    metrics = Metrics()
    async with open_plane(site, metrics=metrics) as plane:
        await plane.take(plan("flags"))
        usual = await ask(plane, USUAL)
        found = await ask(plane, USUAL, OUTSIDE, FAR)
    assert "guards" not in usual.parameters
    assert found.outputs[0].data == [12.75, 40.75, 12.25]
    flags = found.parameters["guards"]
    assert flags["schema"] == {"hour": [1]}
    assert flags["outlier"]["rows"] == [1, 2]
    assert all(score > 0 for score in flags["outlier"]["scores"])
    assert [p.flags for p in journalled(site)] == [{}, flags]
    page = metrics.page()[0].decode()
    for guard in ("schema", "outlier"):
        labels = f'guard="{guard}",model="rides",outcome="flagged",variant="champion",version="flags"'
        assert f"everloop_guards_total{{{labels}}} 1.0" in page


@pytest.mark.asyncio
async def test_what_is_refused_is_not_journalled_and_says_why(site: Site) -> None:
    metrics = Metrics()
    async with open_plane(site, metrics=metrics) as plane:
        await plane.take(plan("refuses"))
        with pytest.raises(RefusedError, match="column 'hour', row 1: 40 lies outside 0 to 23, what training saw"):
            await ask(plane, USUAL, OUTSIDE)
        with pytest.raises(RefusedError, match=r"row 0 lies further from all that training saw than usual rows do"):
            await ask(plane, FAR)
        assert (await ask(plane, USUAL)).outputs[0].data == [12.75]
    assert len(journalled(site)) == 1
    assert 'guard="outlier",model="rides",outcome="rejected"' in metrics.page()[0].decode()


@pytest.mark.asyncio
async def test_clipped_rows_are_answered_by_the_nearest_value_and_repeat(site: Site) -> None:
    async with open_plane(site) as plane:
        await plane.take(plan("clips"))
        found = await ask(plane, OUTSIDE, USUAL)
    assert found.outputs[0].data == [23.75, 12.75]
    assert found.parameters["guards"] == {"clipped": {"hour": [0]}}
    (prediction,) = journalled(site)
    assert prediction.inputs["hour"] == [40.0, 12.0]
    model = Model.load(site.folder / "bundles" / "clips", trusted(site.keys))
    assert model.predict_lists(prediction.inputs) == prediction.outputs


@pytest.mark.parametrize(("rows", "batching"), [(300, Batching()), (3, Batching(8, 0.001))])
@pytest.mark.asyncio
async def test_guards_see_large_requests_and_batches_too(site: Site, rows: int, batching: Batching) -> None:
    async with open_plane(site) as plane:
        plane._loader = ModelLoader(site.folder, site.keys, batching=batching)
        await plane.take(plan("flags"))
        found = await ask(plane, *[USUAL] * (rows - 1), FAR)
        assert found.parameters["guards"]["outlier"]["rows"] == [rows - 1]
        await plane.take(plan("refuses-outliers"))
        with pytest.raises(RefusedError, match=f"row {rows - 1} lies further"):
            await ask(plane, *[USUAL] * (rows - 1), FAR)


def test_over_http_a_refusal_is_a_400(site: Site, start: Start) -> None:
    write_plan(site.plan, plan("refuses"))
    with start(site) as server:
        answer = httpx.post(server.infer, json=request(OUTSIDE))
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
        assert answer.json()["error"].endswith("what training saw: correct it")
        assert httpx.post(server.infer, json=named(3.0)).status_code == 200
        explained = httpx.post(f"{server.url}/v2/models/rides/versions/clips/explain", json=request(OUTSIDE))
        assert explained.json()["explanations"][0]["answer"] == 23.75  # of the row as it is answered
