from __future__ import annotations

import asyncio
import shutil

import pytest
from tests.serving.sites import RIDES, Site, rides_plan, seven_rows_graph, write_bundle

from everloop.bundles import SigningKey
from everloop.errors import BundleError, RequestError
from everloop.serving.batching import Batching
from everloop.serving.models import ModelLoader
from everloop.serving.protocol import OutputTensor, RequestedOutput, Tensor
from everloop.types import Plan, Variant


def shop_plan() -> Plan:
    return Plan(1, "shop", (Variant("s1", "bundles/s1", "champion", 1.0),))


@pytest.mark.asyncio
async def test_a_version_is_loaded_once(site: Site) -> None:
    loader = ModelLoader(site.folder, site.keys)
    first = await loader.load(rides_plan(1), {})
    second = await loader.load(rides_plan(2, champion="v2"), first)
    assert list(first) == ["v1", "v2"]
    assert second == first


@pytest.mark.asyncio
async def test_a_bundle_of_another_key_is_not_loaded(site: Site) -> None:
    SigningKey.create(site.folder / "others")
    with pytest.raises(BundleError, match="not trusted"):
        await ModelLoader(site.folder, site.folder / "others").load(rides_plan(1), {})


@pytest.mark.asyncio
async def test_a_bundle_of_another_model_is_not_loaded(site: Site) -> None:
    plan = Plan(1, "rides", (Variant("v9", "bundles/s1", "champion", 1.0),))
    with pytest.raises(BundleError, match="holds 'shop', not 'rides'"):
        await ModelLoader(site.folder, site.keys).load(plan, {})


@pytest.mark.asyncio
async def test_a_changed_bundle_is_not_loaded(site: Site) -> None:
    shutil.copytree(site.folder / "bundles" / "v1", site.folder / "changed")
    graph = site.folder / "changed" / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    plan = Plan(1, "rides", (Variant("v1", str(site.folder / "changed"), "champion", 1.0),))
    with pytest.raises(BundleError, match=r"model\.onnx"):
        await ModelLoader(site.folder, site.keys).load(plan, {})


@pytest.mark.asyncio
async def test_classes_and_probabilities(site: Site) -> None:
    model = (await ModelLoader(site.folder, site.keys).load(shop_plan(), {}))["s1"]
    tensors = [
        Tensor("price", [2], "FP64", [0.0, -9.0]),
        Tensor("count", [2], "INT64", [1, 1]),
        Tensor("member", [2], "BOOL", [True, False]),
        Tensor("city", [2], "BYTES", ["Oslo", "Rome"]),
    ]
    answer = await model.answer(tensors, 9.0)
    assert answer.unknown == {"city": ["Rome"]}
    label, probability = model.tensors(answer, [])
    assert label == OutputTensor("label", "INT64", (2,), [1, 0])
    assert (probability.shape, len(probability.data)) == ((2, 2), 4)
    assert answer.outputs["probability"] == [probability.data[:2], probability.data[2:]]
    assert model.tensors(answer, [RequestedOutput("label")]) == [label]
    with pytest.raises(RequestError, match="unknown output 'score': this model answers label, probability"):
        model.check_outputs([RequestedOutput("score")])


@pytest.mark.asyncio
async def test_a_large_request_is_answered_as_a_small_one(site: Site) -> None:
    model = (await ModelLoader(site.folder, site.keys).load(rides_plan(1), {}))["v2"]
    rows = 5000
    answer = await model.answer([Tensor("x", [rows, 3], "FP64", [float(i) for i in range(3 * rows)])], 9.0)
    assert answer.outputs == {"prediction": [1000.0 + 9 * i + 3 for i in range(rows)]}


@pytest.mark.asyncio
async def test_requests_that_share_a_batch_get_their_own_answers(site: Site) -> None:
    loader = ModelLoader(site.folder, site.keys, batching=Batching(8, 0.001))
    model = (await loader.load(rides_plan(1), {}))["v1"]
    asked = [[Tensor("x", [rows, 3], "FP64", [float(n)] * 3 * rows)] for n, rows in enumerate((1, 2, 1, 4, 9, 300))]
    answers = await asyncio.gather(*(model.answer(tensors, 9.0) for tensors in asked))
    for n, answer in enumerate(answers):
        assert answer.outputs["prediction"] == [3.0 * n] * asked[n][0].shape[0]
    assert [answer.batch for answer in answers] == [8, 8, 8, 8, 0, 0]


@pytest.mark.asyncio
async def test_a_graph_that_cannot_answer_is_not_taken(site: Site) -> None:
    key = SigningKey.create(site.folder / "own")
    write_bundle(site.folder / "broken", key, "rides", seven_rows_graph(), RIDES)
    plan = Plan(1, "rides", (Variant("v1", "broken", "champion", 1.0),))
    with pytest.raises(BundleError, match="cannot answer a row of zeros: the model refuses the input"):
        await ModelLoader(site.folder, site.folder / "own").load(plan, {})
