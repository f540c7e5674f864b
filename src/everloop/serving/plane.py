"""The serving plane: predictions and feedback under a plan, every answer journalled before it leaves.

It knows no transport: HTTP is one thin layer over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from everloop.errors import EverloopError, JournalError, NotFoundError, RequestError, SystemError_
from everloop.inference.guards import RefusedError
from everloop.serving.clock import Clock
from everloop.serving.explain import Explainer
from everloop.serving.explainer import Order
from everloop.serving.features import OnlineFeatures
from everloop.serving.limits import Limits, too_late
from everloop.serving.metrics import Metrics, VersionMetrics
from everloop.serving.models import Answer, Level, LoadedModel, ModelLoader
from everloop.serving.protocol import (
    ExplainRequest,
    ExplainResponse,
    FeedbackItem,
    InferRequest,
    InferResponse,
    ModelMetadata,
    Tensor,
    tensor_metadata,
)
from everloop.serving.router import Route, Router
from everloop.serving.sticky import StickyKey, digest_of
from everloop.types import Failure, Feedback, Plan, Prediction, new_id

__all__ = ["VERSION_HEADER", "Context", "Journal", "Plane"]

VERSION_HEADER = "x-everloop-version"
"""Names the version that shall answer, for a test or a comparison; it must take part in the plan."""
MOST_EXPLAINED = 100
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_encode = msgspec.json.Encoder().encode


class Journal(Protocol):
    """Where answers are written before they leave."""

    async def append(self, kind: str, id: str, time: float, payload: bytes) -> None:
        """Return once the record is as safe as the journal's mode promises; raises `JournalError`."""


class Context(msgspec.Struct, frozen=True, gc=False):
    """What a transport knows of a request besides its body: the addressed model and version, and its headers."""

    model: str
    header: Callable[[str], str | None]
    version: str | None = None


class _Serving(msgspec.Struct, frozen=True):
    """One plan with all that answers it; requests under way keep the one they began with."""

    plan: Plan
    router: Router
    sticky: StickyKey
    models: dict[str, LoadedModel]
    metrics: dict[str, VersionMetrics]
    levels: dict[str, Level | None]


class Plane:
    """Answers inference requests by the current plan, and takes labels."""

    def __init__(
        self,
        loader: ModelLoader,
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        limits: Limits | None = None,
        explainer: Explainer | None = None,
        features: OnlineFeatures | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._loader, self._journal, self._clock, self._metrics = loader, journal, clock, metrics
        self._timer = timer
        self._serving: _Serving | None = None
        self._explainer, self._features = explainer, features
        self._limits, self._under_way = limits or Limits(), 0
        self.unloaded = False
        """No request is answered while this is set."""

    async def infer(self, request: InferRequest, context: Context) -> InferResponse:
        """Return the answer to a request, once the journal holds it.

        A request whose `id` is a UUID names its prediction; any other prediction gets a UUIDv7 of its time. Sent
        again with the same UUID it is answered and journalled again: readers count the first record of an id.
        """
        self._begin()
        try:
            started = self._timer()
            serving = self._serving_for(context.model, context.version)
            self._check_loaded(serving)
            seconds = self._limits.seconds_of(request.parameters)
            moment = self._clock(request.parameters.get("time"))
            id = request.id.lower() if request.id and _is_uuid(request.id) else new_id(moment)
            route = self._route(serving, request, context, id, moment)
            model = serving.models[route.version]
            model.check_outputs(request.outputs)
            counters = serving.metrics[route.version]
            tensors = await self._complete(request.inputs, model)
            try:
                answer = await model.answer(tensors, seconds, serving.levels[route.version])
                latency = self._timer() - started
                if latency > seconds:
                    raise too_late(seconds)
            except RefusedError as refused:
                counters.guard(refused.guard, "rejected")
                raise
            except Exception as error:
                await self._failed(serving, route, id, moment, error, self._timer() - started)
                raise
            await self._append("prediction", id, moment, _encode(_prediction(serving, route, answer, latency)))
            if answer.flags or answer.unknown:
                for guard in {*answer.flags, *(("schema",) if answer.unknown else ())}:
                    counters.guard(guard, "flagged")
            counters.answered(self._timer() - started, id)
            return _response(request, serving.plan.model, route, id, model, answer)
        finally:
            self._under_way -= 1

    async def feedback(self, model: str, items: Sequence[FeedbackItem]) -> int:
        """Return the number of labels taken, once the journal holds all of them; one wrong label refuses the batch.

        A label sent again is journalled again, and readers count it once: after an error, send the batch again.
        """
        self._serving_for(model)
        records = [self._label(item) for item in items]
        appends = (self._append("feedback", label.prediction, label.time, _encode(label)) for label in records)
        self._begin()
        try:
            outcomes = await asyncio.gather(*appends, return_exceptions=True)
        finally:
            self._under_way -= 1
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        self._metrics.feedback.inc(len(records))
        return len(records)

    async def explain(self, request: ExplainRequest, model: str, version: str | None = None) -> ExplainResponse:
        """Return why an answer is what it is; that of a journalled prediction is journalled with it."""
        serving = self._serving_for(model, version)
        if self._explainer is None:
            raise SystemError_("this server was started without a process that explains")
        order = Order(self._loader.places(serving.plan), "", "", **_asked(request.parameters))
        if request.prediction_id:
            order.prediction = request.prediction_id.lower()
        else:
            order.version = version or serving.plan.champion.version
            loaded = serving.models[order.version]
            order.inputs = loaded.read(await self._complete(request.inputs, loaded))
            if len(next(iter(order.inputs.values()))) > MOST_EXPLAINED:
                raise RequestError(f"at most {MOST_EXPLAINED} rows are explained at a time")
        found, stored = await self._explainer.explain(order)
        if request.prediction_id and not stored:
            moment = self._clock(request.parameters.get("time"))
            await self._append("explanation", order.prediction, moment, _encode(found))
        return ExplainResponse(model, found.version, request.prediction_id, found.rows, found.asked["background"])

    def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        """Return the metadata of a version, of the champion when none is named."""
        serving = self._serving_for(model, version)
        loaded = serving.models[version or serving.plan.champion.version]
        manifest = loaded.manifest
        widths = {"probability": len(manifest.classes)} if manifest.classes else {}
        return ModelMetadata(
            name=model,
            versions=list(serving.models),
            platform=loaded.platform,
            inputs=[tensor_metadata(c) for c in manifest.inputs],
            outputs=[tensor_metadata(c, None if c.shape else widths.get(c.name)) for c in manifest.outputs],
        )

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Return whether requests are answered; raises `NotFoundError` for a model or version that is not there."""
        if self._serving is None or self.unloaded:
            return False
        if model is not None:
            self._serving_for(model, version)
        return True

    @property
    def plan(self) -> Plan | None:
        return self._serving.plan if self._serving else None

    async def take(self, plan: Plan) -> None:
        """Answer by another plan from now on; on an error the old plan goes on, and the error is raised."""
        models = await self._loader.load(plan, self._serving.models if self._serving else {})
        columns = [c.name for c in models[plan.champion.version].manifest.inputs]
        self._serving = _Serving(
            plan=plan,
            router=Router(plan),
            sticky=StickyKey(plan.sticky_by, columns),
            models=models,
            metrics=self._metrics.versions(plan),
            levels={v.version: models[v.version].level_of(v.level) for v in plan.variants},
        )
        self._metrics.plan_generation.set(plan.generation)

    def _serving_for(self, model: str, version: str | None = None) -> _Serving:
        serving = self._serving
        if serving is None:
            raise SystemError_("this server has no plan yet: it answers as soon as a version is deployed")
        if model != serving.plan.model:
            raise NotFoundError("model", model, (serving.plan.model,))
        if version is not None and version not in serving.models:
            raise NotFoundError("version", version, serving.models)
        return serving

    def _begin(self) -> None:
        """Count a request as under way; raises `SystemError_` where so many are that memory would not be bounded."""
        if self._under_way >= self._limits.requests:
            raise SystemError_(f"{self._under_way} requests are under way, no more are taken: try again")
        self._under_way += 1

    def _check_loaded(self, serving: _Serving) -> None:
        if self.unloaded:
            raise SystemError_(f"model {serving.plan.model!r} is unloaded: POST /v2/repository/models/.../load first")

    def _route(self, serving: _Serving, request: InferRequest, context: Context, id: str, moment: float) -> Route:
        override = context.version or context.header(VERSION_HEADER)
        if override is not None:
            return serving.router.route(None, id, moment, override)
        key = serving.sticky.of(request.inputs, context.header)
        route = serving.router.route(key, id, moment)
        return route._replace(key=digest_of(serving.plan.model, key)) if key and route.why == "key" else route

    async def _complete(self, tensors: Sequence[Tensor], model: LoadedModel) -> Sequence[Tensor]:
        """Look up what a request leaves out, before a version answers: it is no failure of its own if that fails."""
        return tensors if self._features is None else await self._features.complete(tensors, model.manifest.inputs)

    async def _failed(
        self, serving: _Serving, route: Route, id: str, moment: float, error: Exception, latency: float
    ) -> None:
        """Journal that a version failed, so that a rollout is judged by it; what the caller did wrong is no failure."""
        status = error.http_status if isinstance(error, EverloopError) else 500
        if status < 500:
            return
        failure = Failure(
            model=serving.plan.model,
            version=route.version,
            status=status,
            variant=route.variant,
            propensity=route.propensity,
            why=route.why,
            generation=serving.plan.generation,
            latency_us=int(latency * 1e6),
            key=route.key,
        )
        with contextlib.suppress(JournalError):  # the caller gets the first error
            await self._append("failure", id, moment, _encode(failure))

    def _label(self, item: FeedbackItem) -> Feedback:
        if not _is_uuid(item.prediction):
            raise RequestError(f"{item.prediction[:40]!r} is no prediction id: send the answer's 'prediction_id'")
        if item.row < 0:
            raise RequestError(f"row {item.row} of prediction {item.prediction}: rows count from 0")
        return Feedback(item.prediction.lower(), item.value, self._clock(item.time), item.row)

    async def _append(self, kind: str, id: str, time: float, payload: bytes) -> None:
        try:
            await self._journal.append(kind, id, time, payload)
        except JournalError:
            self._metrics.journal_errors.inc()
            raise


def _asked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    background, seed = parameters.get("background", 32), parameters.get("seed", 0)
    if type(background) is not int or not 1 <= background <= 256:
        raise RequestError(f"background {background!r}: give a number of rows from 1 to 256")
    if type(seed) is not int or seed < 0:
        raise RequestError(f"seed {seed!r}: give a whole number that is not negative")
    return {"background": background, "seed": seed, "of_class": parameters.get("class")}


def _prediction(serving: _Serving, route: Route, answer: Answer, latency: float) -> Prediction:
    level = serving.levels[route.version]
    return Prediction(
        model=serving.plan.model,
        version=route.version,
        inputs=answer.inputs,
        outputs=answer.outputs,
        variant=route.variant,
        propensity=route.propensity,
        why=route.why,
        generation=serving.plan.generation,
        latency_us=int(latency * 1e6),
        batch=answer.batch,
        flags={"unknown_categories": answer.unknown, **answer.flags} if answer.unknown else answer.flags,
        level=() if level is None else tuple(level.tolist()),
        raw=answer.raw,
        key=route.key,
    )


def _response(
    request: InferRequest, name: str, route: Route, id: str, model: LoadedModel, answer: Answer
) -> InferResponse:
    parameters: dict[str, Any] = {"prediction_id": id, "variant": route.variant}
    if answer.unknown:
        parameters["unknown_categories"] = answer.unknown
    if answer.flags:
        parameters["guards"] = answer.flags
    outputs = model.tensors(answer, request.outputs)
    return InferResponse(name, route.version, request.id or id, parameters, outputs)
