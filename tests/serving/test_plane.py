from __future__ import annotations

import asyncio
import uuid
from typing import Any

import msgspec
import pytest
from tests.serving.sites import Site, named, open_plane, read_journal, rides_plan

from everloop.errors import BundleError, JournalError, NotFoundError, RequestError, SystemError_
from everloop.serving.metrics import Metrics
from everloop.serving.models import ModelLoader
from everloop.serving.plane import Context, Plane
from everloop.serving.protocol import FeedbackItem, InferRequest, InferResponse, TensorMetadata
from everloop.types import Failure, Feedback, Plan, Prediction, Variant

NO_HEADERS: dict[str, str] = {}
ID = "018f2c3a-0000-7000-8000-00000000000a"


async def ask(plane: Plane, hour: float = 1.0, headers: dict[str, str] | None = None, **fields: Any) -> InferResponse:
    version = fields.pop("version", None)
    body = named(hour, **{"parameters": {"time": 100.0}, **fields})
    context = Context("rides", (headers or {}).get, version)
    return await plane.infer(msgspec.convert(body, InferRequest), context)


@pytest.mark.asyncio
async def test_an_answer_is_in_the_journal_with_all_that_led_to_it(plane: Plane, site: Site) -> None:
    answer = await ask(plane, 3.0)
    (record,) = read_journal(site.journal)
    prediction = record.read(Prediction)
    assert answer.outputs[0].data == [3.75]
    assert (record.kind, record.time) == ("prediction", 100.0)
    assert record.id == answer.id == answer.parameters["prediction_id"]
    assert prediction.inputs == {"hour": [3.0], "temp": [0.5], "hum": [0.25]}
    assert prediction.outputs == {"prediction": [3.75]}
    assert (prediction.version, prediction.variant, prediction.why, prediction.generation) == (
        "v1",
        "champion",
        "only",
        1,
    )
    assert prediction.latency_us > 0
    assert record.verify()


@pytest.mark.asyncio
async def test_a_uuid_names_the_prediction_and_any_other_id_is_echoed(plane: Plane, site: Site) -> None:
    first, second = await ask(plane, id=ID.upper()), await ask(plane, id="row 7")
    assert (first.id, first.parameters["prediction_id"]) == (ID.upper(), ID)
    assert second.id == "row 7"
    made = uuid.UUID(second.parameters["prediction_id"])
    assert (made.version, made.int >> 80) == (7, 100_000)
    assert [r.id for r in read_journal(site.journal)] == [ID, str(made)]


@pytest.mark.asyncio
async def test_the_plan_decides_who_answers(plane: Plane, site: Site) -> None:
    await plane.take(rides_plan(2, 0.3, since=50.0, sticky_by="header:x-user"))
    early = await ask(plane, parameters={"time": 49.0}, headers={"x-user": "anna"})
    keyed = [await ask(plane, headers={"x-user": str(user)}) for user in range(40)]
    assert early.model_version == "v1"
    assert {a.model_version for a in keyed} == {"v1", "v2"}
    predictions = [r.read(Prediction) for r in read_journal(site.journal)]
    assert {p.propensity for p in predictions if p.version == "v2"} == {0.3}
    assert {p.outputs["prediction"][0] for p in predictions if p.version == "v2"} == {1001.75}
    assert [p.why for p in predictions[:2]] == ["early", "key"]
    assert predictions[0].key == ""
    assert len({p.key for p in predictions[1:]}) == 40
    assert all(len(p.key) == 16 and "anna" not in p.key for p in predictions[1:])


@pytest.mark.asyncio
async def test_a_version_can_be_asked_for(plane: Plane, site: Site) -> None:
    for answer in (await ask(plane, version="v2"), await ask(plane, headers={"x-everloop-version": "v2"})):
        assert (answer.model_version, answer.parameters["variant"]) == ("v2", "candidate")
    assert {r.read(Prediction).why for r in read_journal(site.journal)} == {"override"}
    with pytest.raises(NotFoundError, match="no version 'v9'"):
        await ask(plane, version="v9")
    with pytest.raises(RequestError, match="'v9' is not in the plan"):
        await ask(plane, headers={"x-everloop-version": "v9"})


@pytest.mark.asyncio
async def test_an_unknown_category_is_answered_flagged_and_journalled(plane: Plane, site: Site) -> None:
    await plane.take(Plan(1, "shop", (Variant("s1", "bundles/s1", "champion", 1.0),)))
    values = {"price": ("FP64", 1.0), "count": ("INT64", 2), "member": ("BOOL", True), "city": ("BYTES", "Rome")}
    inputs = [{"name": n, "shape": [1], "datatype": d, "data": [v]} for n, (d, v) in values.items()]
    request = msgspec.convert({"inputs": inputs, "parameters": {"time": 1.0}}, InferRequest)
    answer = await plane.infer(request, Context("shop", lambda _: None))
    assert answer.parameters["unknown_categories"] == {"city": ["Rome"]}
    (record,) = read_journal(site.journal)
    assert record.read(Prediction).flags == {"unknown_categories": {"city": ["Rome"]}}


@pytest.mark.asyncio
async def test_a_refused_request_leaves_nothing(plane: Plane, site: Site) -> None:
    refused: list[dict[str, Any]] = [
        {"parameters": {}},
        {"parameters": {"time": "soon"}},
        {"outputs": [{"name": "z"}]},
        {"inputs": []},
    ]
    for fields in refused:
        with pytest.raises(RequestError):
            await ask(plane, **fields)
    assert read_journal(site.journal) == []


@pytest.mark.asyncio
async def test_labels_are_journalled_all_or_none(plane: Plane, site: Site) -> None:
    items = [FeedbackItem(ID.upper(), 5, 0, 200.0), FeedbackItem(ID, "a", 1, "1970-01-01T00:05:00Z")]
    assert await plane.feedback("rides", items) == 2
    for wrong in (FeedbackItem("7", 5, 0, 1.0), FeedbackItem(ID, 5, -1, 1.0), FeedbackItem(ID, 5, 0, None)):
        with pytest.raises(RequestError):
            await plane.feedback("rides", [items[0], wrong])
    records = read_journal(site.journal)
    assert [(r.kind, r.id, r.time) for r in records] == [("feedback", ID, 200.0), ("feedback", ID, 300.0)]
    assert [r.read(Feedback) for r in records] == [Feedback(ID, 5, 200.0, 0), Feedback(ID, "a", 300.0, 1)]


@pytest.mark.asyncio
async def test_without_a_plan_nothing_is_answered(site: Site) -> None:
    async with open_plane(site) as plane:
        assert not plane.ready()
        with pytest.raises(SystemError_, match="no plan yet"):
            await ask(plane)


@pytest.mark.asyncio
async def test_metadata_and_readiness(plane: Plane) -> None:
    metadata = plane.metadata("rides", "v2")
    assert (metadata.versions, metadata.platform) == (["v1", "v2"], "onnx_onnxv1")
    assert metadata.inputs[0] == TensorMetadata("hour", "FP64", [-1])
    assert plane.ready()
    assert plane.ready("rides", "v2")
    with pytest.raises(NotFoundError, match="no model 'ride' \\(did you mean 'rides'"):
        plane.ready("ride")
    await plane.take(Plan(2, "shop", (Variant("s1", "bundles/s1", "champion", 1.0),)))
    assert [t.shape for t in plane.metadata("shop").outputs] == [[-1], [-1, 2]]


@pytest.mark.asyncio
async def test_a_version_that_fails_is_in_the_journal_and_a_wrong_request_is_not(plane: Plane, site: Site) -> None:
    await plane.take(rides_plan(2, 0.3, sticky_by="header:x-user"))
    assert plane._serving
    broken: Any = plane._serving.models["v2"]._model

    def fail(_: Any) -> Any:
        raise RuntimeError("the graph broke")

    broken.predict_scored = fail
    users = [str(user) for user in range(30)]
    answers = await asyncio.gather(*(ask(plane, headers={"x-user": u}) for u in users), return_exceptions=True)
    with pytest.raises(RequestError):
        await ask(plane, version="v2", inputs=[])
    failed = [r.read(Failure) for r in site.records("failure")]
    assert len(failed) == sum(isinstance(a, RuntimeError) for a in answers) > 3
    assert {(f.version, f.variant, f.status, f.propensity, f.why) for f in failed} == {
        ("v2", "candidate", 500, 0.3, "key")
    }
    assert len({f.key for f in failed}) == len(failed)


class FullDisk:
    """A journal that has no room."""

    async def append(self, *_: object, **__: object) -> None:
        raise JournalError("the journal cannot be written: no space left")


@pytest.mark.asyncio
async def test_no_answer_leaves_without_its_record(site: Site) -> None:
    metrics = Metrics()
    plane = Plane(ModelLoader(site.folder, site.keys), FullDisk(), lambda _: 1.0, metrics)
    await plane.take(rides_plan(1))
    with pytest.raises(JournalError):
        await ask(plane)
    with pytest.raises(JournalError):
        await plane.feedback("rides", [FeedbackItem(ID, 5), FeedbackItem(ID, 6)])
    page = metrics.page()[0].decode()
    assert "everloop_journal_errors_total 3.0" in page
    assert 'everloop_predictions_total{model="rides",variant="champion",version="v1"} 0.0' in page


@pytest.mark.asyncio
async def test_requests_under_way_finish_on_the_plan_they_began_with(plane: Plane, site: Site) -> None:
    asked = [asyncio.create_task(ask(plane, float(i))) for i in range(200)]
    for generation in range(2, 12):
        await plane.take(rides_plan(generation, champion="v2" if generation % 2 == 0 else "v1"))
        asked += [asyncio.create_task(ask(plane, float(i))) for i in range(20)]
    answers = await asyncio.gather(*asked)
    by_id = {r.id: r.read(Prediction) for r in read_journal(site.journal)}
    assert len(by_id) == len(answers) == 400
    for answer in answers:
        prediction = by_id[answer.id]
        offset = 1000.0 if prediction.version == "v2" else 0.0
        assert (answer.model_version, answer.outputs[0].data) == (prediction.version, prediction.outputs["prediction"])
        assert prediction.outputs["prediction"] == [prediction.inputs["hour"][0] + 0.75 + offset]


@pytest.mark.asyncio
async def test_a_plan_corrects_answers_by_its_level_and_the_journal_keeps_both(site: Site) -> None:
    async with open_plane(site) as plane:
        await plane.take(with_level(rides_plan(1), 1.5))
        answer = await ask(plane, 3.0)
        await plane.take(rides_plan(2))
        assert (await ask(plane, 3.0)).outputs[0].data == [3.75]
        shop = Plan(3, "shop", (Variant("s1", "bundles/s1", "champion", 1.0, (0.9, 0.1)),))
        await plane.take(shop)
        body = {"inputs": purchase(), "parameters": {"time": 100.0}}
        bought = await plane.infer(msgspec.convert(body, InferRequest), Context("shop", NO_HEADERS.get))
    assert answer.outputs[0].data == [5.625]
    first, second, third = (r.read(Prediction) for r in read_journal(site.journal))
    assert (first.outputs, first.raw, first.level) == ({"prediction": [5.625]}, {"prediction": [3.75]}, (1.5,))
    assert (second.raw, second.level) == ({}, ())
    (no, yes), (raw_no, raw_yes) = third.outputs["probability"][0], third.raw["probability"][0]
    assert no + yes == pytest.approx(1.0)
    assert yes / no == pytest.approx(raw_yes / raw_no / 9)
    assert {o.name: o.data for o in bought.outputs}["label"] == [int(yes > no)]


@pytest.mark.parametrize("level", [(0.0,), (1.0, 2.0), (float("inf"),), (-1.0,)])
@pytest.mark.asyncio
async def test_a_level_that_does_not_fit_is_refused(plane: Plane, level: tuple[float, ...]) -> None:
    with pytest.raises(BundleError, match="of v1 must hold 1 positive numbers"):
        await plane.take(with_level(rides_plan(2), *level))
    assert (await ask(plane, 3.0)).outputs[0].data == [3.75]


def with_level(plan: Plan, *level: float) -> Plan:
    champion, *others = plan.variants
    return msgspec.structs.replace(plan, variants=(msgspec.structs.replace(champion, level=level), *others))


def purchase() -> list[dict[str, Any]]:
    values = {"price": ("FP64", 0.1), "count": ("INT64", 0), "member": ("BOOL", False), "city": ("BYTES", "Bonn")}
    return [{"name": n, "shape": [1], "datatype": d, "data": [v]} for n, (d, v) in values.items()]
