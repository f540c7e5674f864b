"""Reads the journal: scores each request with the versions that did not answer it, and joins late labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.data import Schema, label
from everloop.evaluation import losses
from everloop.inference import Model
from everloop.journal import Position, Reader, Record
from everloop.monitoring import Joined, JoinState, LabelJoin
from everloop.rollouts import Exposure
from everloop.types import Failure, Feedback, Plan, Prediction

__all__ = ["Compared", "Scope", "ScoredRow", "Scorer", "Watch", "WatchState", "label_coverage"]


class ScoredRow(msgspec.Struct, frozen=True):
    """One labelled row: its truth (a class's index), and by version the raw answer and the loss of the served one.

    `propensity` and `why` say how the `version` that answered was chosen; `first`: it is its request's first row.
    """

    time: float
    truth: float
    version: str
    answers: dict[str, list[float]]
    losses: dict[str, float]
    propensity: float = 1.0
    why: str = "only"
    first: bool = True
    key: str = ""
    values: dict[str, str] = {}
    """Of the columns in the watch's `Scope`, as text."""


class Scope(msgspec.Struct, frozen=True):
    """What rollouts look at besides losses: columns of slices (`auto`: all categorical ones) and sensitive ones.

    Without `pairs` no version is asked what it would have answered: the answer changes the label.
    """

    slices: tuple[str, ...] | Literal["auto"] = "auto"
    sensitive: tuple[str, ...] = ()
    pairs: bool = True

    def columns(self, model: Model) -> list[str]:
        """Return the names of the columns to be kept of each row."""
        return [
            c.name
            for c in model.manifest.inputs
            if c.name in self.sensitive
            or (
                c.kind == "categorical" and c.categories is not None if self.slices == "auto" else c.name in self.slices
            )
        ]


class Scorer:
    """Turns labels and outputs into numbers of one schema, and those into losses."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._classes: dict[Any, float] = {value: float(i) for i, value in enumerate(schema.classes)}
        self._output = "prediction" if schema.task == "regression" else "probability"

    def truth(self, value: Any) -> float | None:
        """Return a label as a number, a class as its index; None for what the schema has no place for."""
        known = label(value, self.schema)
        if known is None:
            return None
        return self._classes[known] if self._classes else float(known)

    def answers(self, outputs: Mapping[str, list[Any]]) -> list[list[float]]:
        """Return one list of numbers a row: the value, or the probabilities."""
        return [value if isinstance(value, list) else [value] for value in outputs[self._output]]

    def served(self, answers: list[list[float]], levels: list[list[float]]) -> NDArray[np.float64]:
        """Return raw answers as levels correct them, a level a row ([] for none); of shape (rows, numbers)."""
        found = np.asarray(answers, dtype=np.float64)
        if any(levels):
            found = found * np.asarray([level or [1.0] * found.shape[1] for level in levels])
            if self._classes:
                found /= np.maximum(found.sum(1, keepdims=True), 1e-300)
        return found

    def losses(
        self, truth: list[float], answers: list[list[float]], levels: list[list[float]] | None = None
    ) -> NDArray[np.float64]:
        """Return one loss a row, of answers as their levels correct them."""
        found = self.served(answers, levels or [[]])
        return losses(self.schema.task, np.asarray(truth), found if self._classes else found[:, 0])


class Compared(msgspec.Struct):
    """How the candidate's answers differ from the champion's on the same rows, labelled or not.

    A difference is that of the values, or the largest of the probabilities; `disagreements` counts other classes.
    """

    candidate: str = ""
    rows: int = 0
    total: float = 0.0
    largest: float = 0.0
    disagreements: int = 0

    def add(self, champion: list[float], candidate: list[float]) -> None:
        """Take both answers to one row."""
        difference = max(abs(a - b) for a, b in zip(champion, candidate, strict=True))
        self.rows += 1
        self.total += difference
        self.largest = max(self.largest, difference)
        self.disagreements += len(champion) > 1 and _place(champion) != _place(candidate)


class WatchState(msgspec.Struct):
    """All that a restart needs; stored with what was decided on it."""

    position: Position = Position(0, 0)
    join: JoinState = msgspec.field(default_factory=JoinState)
    traffic: dict[str, int] = {}
    unusable: int = 0
    compared: Compared = msgspec.field(default_factory=Compared)
    exposure: Exposure = msgspec.field(default_factory=Exposure)


class Watch:
    """A journal reader whose offset the controller stores, in the same transaction as its decisions."""

    def __init__(
        self,
        reader: Reader,
        coverage: float,
        state: WatchState,
        scope: Scope = Scope(),  # noqa: B008 - it is frozen
    ) -> None:
        self._state, self._reader, self._scope = state, reader, scope
        self._join = LabelJoin(coverage, state.join)
        reader.seek(state.position)

    def read(self, plan: Plan, models: Mapping[str, Model], scorer: Scorer) -> None:
        """Take all that the journal holds; `models` maps the versions that take part to their models."""
        while records := self._reader.poll(1000):
            for record in records:
                if record.kind == "prediction":
                    self._predicted(record, plan, models, scorer)
                elif record.kind == "feedback":
                    self._labelled(record.read(Feedback), scorer)
                elif record.kind == "failure":
                    self._failed(record, plan)
        self._state.position = self._reader.position

    def release(self, scorer: Scorer) -> list[ScoredRow]:
        """Return the rows that the watermark passed since the last call, in prediction-time order."""
        joined = self._join.release()
        found: list[dict[str, float]] = [{} for _ in joined]
        for version in dict.fromkeys(v for row in joined for v in row.payload["answers"]):
            rows = [i for i, row in enumerate(joined) if version in row.payload["answers"]]
            answers = [joined[i].payload["answers"][version] for i in rows]
            levels = [joined[i].payload.get("levels", {}).get(version, []) for i in rows]
            for i, loss in zip(rows, scorer.losses([joined[i].value for i in rows], answers, levels), strict=True):
                found[i][version] = float(loss)
        return [_scored(row, losses) for row, losses in zip(joined, found, strict=True)]

    def exposure(self, candidate: str, since: float) -> Exposure:
        """Return what the drawn answers of a rollout have shown so far."""
        found = self._state.exposure
        if (found.candidate, found.since) != (candidate, since):
            found = self._state.exposure = Exposure(candidate, since)
        return found

    def close(self) -> None:
        """Close the journal's reader."""
        self._reader.close()

    @property
    def label_coverage(self) -> float:
        return self._join.label_coverage

    @property
    def labels(self) -> int:
        """How many rows had their label so far; one that comes again counts once."""
        return self._join.state.released + sum(row.observed is not None for row in self._join.state.waiting)

    @property
    def watermark(self) -> float:
        return max(0.0, self._join.state.watermark)

    @property
    def state(self) -> WatchState:
        """The state as it is to be stored."""
        self._state.join = self._join.state
        return self._state

    def _predicted(self, record: Record, plan: Plan, models: Mapping[str, Model], scorer: Scorer) -> None:
        prediction = record.read(Prediction)
        answers = {prediction.version: scorer.answers(prediction.raw or prediction.outputs)}
        levels = {v.version: list(v.level) for v in plan.variants if v.level}
        levels[prediction.version] = list(prediction.level)
        for version, model in models.items():
            early = plan.candidate and version == plan.candidate.version and record.time < plan.since
            if version != prediction.version and not early and self._scope.pairs:
                answers[version] = scorer.answers(model.predict_lists(prediction.inputs))
        levels = {version: level for version, level in levels.items() if level and version in answers}
        if plan.candidate and {plan.champion.version, plan.candidate.version} <= set(answers):
            served = [
                scorer.served(answers[v], [levels.get(v, [])] * len(answers[v])).tolist()
                for v in (plan.champion.version, plan.candidate.version)
            ]
            self._compare(served[0], plan.candidate.version, served[1])
        taking_part = plan.candidate is not None and record.time >= plan.since
        columns = self._scope.columns(models[plan.champion.version]) if taking_part else []
        for row in range(len(answers[prediction.version])):
            payload: dict[str, Any] = {
                "version": prediction.version,
                "answers": {v: found[row] for v, found in answers.items()},
                "route": [prediction.propensity, prediction.why, row == 0],
            }
            if levels:
                payload["levels"] = levels
            if taking_part:
                payload["key"] = prediction.key
                payload["values"] = {c: _text(prediction.inputs[c][row]) for c in columns}
            if self._join.predicted((record.id, row), record.time, payload):
                if taking_part and row == 0:
                    self._answered(record.id, prediction, plan)
                self._state.traffic[prediction.version] = self._state.traffic.get(prediction.version, 0) + 1

    def _answered(self, id: str, prediction: Prediction, plan: Plan) -> None:
        """Count one request that a draw gave to either version."""
        if plan.candidate and (drawn := _draw(prediction, plan)):
            candidate, share = drawn
            self.exposure(plan.candidate.version, plan.since).answered(
                candidate,
                share,
                prediction.key or id,
                seconds=prediction.latency_us * 1e-6,
                flagged=bool(prediction.flags),
            )

    def _failed(self, record: Record, plan: Plan) -> None:
        failure = record.read(Failure)
        if plan.candidate and record.time >= plan.since and (drawn := _draw(failure, plan)):
            self.exposure(plan.candidate.version, plan.since).failed(*drawn, failure.key or record.id)

    def _compare(self, champion: list[list[float]], version: str, candidate: list[list[float]]) -> None:
        if self._state.compared.candidate != version:
            self._state.compared = Compared(version)
        for one, other in zip(champion, candidate, strict=True):
            self._state.compared.add(one, other)

    def _labelled(self, feedback: Feedback, scorer: Scorer) -> None:
        truth = scorer.truth(feedback.value)
        if truth is None:
            self._state.unusable += 1
            return
        self._join.labelled((feedback.prediction, feedback.row), truth, feedback.time)


def label_coverage(state: WatchState) -> float:
    """Return the share of the rows that the watermark passed which had their label."""
    return LabelJoin(0.0, state.join).label_coverage


def _draw(one: Prediction | Failure, plan: Plan) -> tuple[bool, float] | None:
    """Return whether a draw gave a request to the candidate, and its share; None where nothing was drawn."""
    known = plan.candidate is not None and one.version in (plan.champion.version, plan.candidate.version)
    if one.why not in ("weight", "key") or not known:
        return None
    candidate = one.version != plan.champion.version
    return candidate, one.propensity if candidate else 1 - one.propensity


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _place(answer: list[float]) -> int:
    return answer.index(max(answer))


def _scored(row: Joined, losses: dict[str, float]) -> ScoredRow:
    propensity, why, first = row.payload.get("route", (1.0, "only", True))
    return ScoredRow(
        row.time,
        row.value,
        row.payload["version"],
        row.payload["answers"],
        losses,
        propensity,
        why,
        first,
        row.payload.get("key", ""),
        row.payload.get("values", {}),
    )
