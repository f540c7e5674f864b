"""Reads the journal: scores each request with the versions that did not answer it, and joins late labels."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.data import Schema, label
from everloop.evaluation import losses
from everloop.inference import Model
from everloop.journal import Position, Reader, Record
from everloop.monitoring import Joined, JoinState, LabelJoin, data_drift
from everloop.types import Feedback, Plan, Prediction, Signal

__all__ = ["Compared", "ScoredRow", "Scorer", "Watch", "WatchState"]


class ScoredRow(msgspec.Struct, frozen=True):
    """One labelled row: its truth (a class's index), and by version the answer and its loss.

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

    def losses(self, truth: list[float], answers: list[list[float]]) -> NDArray[np.float64]:
        """Return one loss a row."""
        found = np.asarray(answers, dtype=np.float64)
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
    inputs: list[tuple[float, dict[str, Any]]] = []
    traffic: dict[str, int] = {}
    unusable: int = 0
    compared: Compared = msgspec.field(default_factory=Compared)


class Watch:
    """A journal reader whose offset the controller stores, in the same transaction as its decisions."""

    def __init__(self, reader: Reader, coverage: float, state: WatchState, keep_inputs: int = 500) -> None:
        self._state, self._reader = state, reader
        self._join = LabelJoin(coverage, state.join)
        self._inputs: deque[tuple[float, dict[str, Any]]] = deque(state.inputs, maxlen=keep_inputs)
        self._reference: dict[str, dict[str, NDArray[Any]]] = {}
        reader.seek(state.position)

    def read(self, plan: Plan, models: Mapping[str, Model], scorer: Scorer) -> None:
        """Take all that the journal holds; `models` maps the versions that take part to their models."""
        while records := self._reader.poll(1000):
            for record in records:
                if record.kind == "prediction":
                    self._predicted(record, plan, models, scorer)
                elif record.kind == "feedback":
                    self._labelled(record.read(Feedback), scorer)
        self._state.position = self._reader.position

    def release(self, scorer: Scorer) -> list[ScoredRow]:
        """Return the rows that the watermark passed since the last call, in prediction-time order."""
        joined = self._join.release()
        found: list[dict[str, float]] = [{} for _ in joined]
        for version in dict.fromkeys(v for row in joined for v in row.payload["answers"]):
            rows = [i for i, row in enumerate(joined) if version in row.payload["answers"]]
            answers = [joined[i].payload["answers"][version] for i in rows]
            for i, loss in zip(rows, scorer.losses([joined[i].value for i in rows], answers), strict=True):
                found[i][version] = float(loss)
        return [_scored(row, losses) for row, losses in zip(joined, found, strict=True)]

    def data_drift(self, model: Model, now: float) -> list[Signal]:
        """Return how far the newest inputs lie from the rows that the model was judged on."""
        if len(self._inputs) < self._inputs.maxlen / 2:  # type: ignore[operator]
            return []
        columns = model.manifest.inputs
        window = {c.name: [row[c.name] for _, row in self._inputs] for c in columns}
        return data_drift(columns, self._reference_of(model), window, start=self._inputs[0][0], end=now)

    def _reference_of(self, model: Model) -> dict[str, NDArray[Any]]:
        """Return the inputs of the rows that a model was judged on, read once a model."""
        run = model.manifest.run
        if run not in self._reference:
            with np.load(io.BytesIO(model.bundle.read("reference.npz")), allow_pickle=False) as arrays:
                self._reference = {run: {c.name: arrays[f"input:{c.name}"] for c in model.manifest.inputs}}
        return self._reference[run]

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
        self._state.inputs = list(self._inputs)
        self._state.join = self._join.state
        return self._state

    def _predicted(self, record: Record, plan: Plan, models: Mapping[str, Model], scorer: Scorer) -> None:
        prediction = record.read(Prediction)
        answers = {prediction.version: scorer.answers(prediction.outputs)}
        for version, model in models.items():
            early = plan.candidate and version == plan.candidate.version and record.time < plan.since
            if version != prediction.version and not early:
                answers[version] = scorer.answers(model.predict_lists(prediction.inputs))
        if plan.candidate and plan.candidate.version in answers:
            self._compare(answers[plan.champion.version], plan.candidate.version, answers[plan.candidate.version])
        for row in range(len(answers[prediction.version])):
            payload = {
                "version": prediction.version,
                "answers": {v: found[row] for v, found in answers.items()},
                "route": [prediction.propensity, prediction.why, row == 0],
            }
            if self._join.predicted((record.id, row), record.time, payload):
                self._inputs.append((record.time, {name: values[row] for name, values in prediction.inputs.items()}))
                self._state.traffic[prediction.version] = self._state.traffic.get(prediction.version, 0) + 1

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


def _place(answer: list[float]) -> int:
    return answer.index(max(answer))


def _scored(row: Joined, losses: dict[str, float]) -> ScoredRow:
    route = row.payload.get("route", (1.0, "only", True))
    return ScoredRow(row.time, row.value, row.payload["version"], row.payload["answers"], losses, *route)
