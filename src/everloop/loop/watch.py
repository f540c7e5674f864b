"""Reads the journal: scores each request with the version that did not answer it, and joins late labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from everloop.inference import Model
from everloop.journal import Position, Reader, Record

from everloop.monitoring import JoinState, LabelJoin
from everloop.types import Feedback, Plan, Prediction

__all__ = ["ScoredRow", "Watch", "WatchState"]

Losses = Callable[[Sequence[Any], Mapping[str, Sequence[Any]]], Sequence[float]]


class ScoredRow(msgspec.Struct, frozen=True):
    """One labelled row: the loss of the answer that left, and of each version that scored it."""

    time: float
    observed: float
    answered: float
    losses: dict[str, float]


class RecentInputs(msgspec.Struct):
    """The newest request rows, for data drift."""

    times: list[float] = []
    columns: dict[str, list[Any]] = {}

    def add(self, time: float, inputs: Mapping[str, list[Any]], keep: int) -> None:
        rows = len(next(iter(inputs.values())))
        self.times = [*self.times, *[time] * rows][-keep:]
        for name, values in inputs.items():
            self.columns[name] = [*self.columns.get(name, []), *values][-keep:]


class WatchState(msgspec.Struct):
    """All that a restart needs; stored with what was decided on it."""

    position: Position = Position(0, 0)
    join: JoinState = msgspec.field(default_factory=JoinState)
    answered: int = 0
    traffic: dict[str, int] = {}


class Watch:
    """A journal reader whose offset is stored by the controller, in the same transaction as its decisions."""

    def __init__(
        self, reader: Reader, coverage: float, losses: Losses, state: WatchState, keep_inputs: int = 500
    ) -> None:
        self.state, self._reader, self._losses = state, reader, losses
        self._join = LabelJoin(coverage, state.join)
        self._keep = keep_inputs
        self.inputs = RecentInputs()
        reader.seek(state.position)

    def read(self, plan: Plan, models: Mapping[str, Model]) -> None:
        """Take all that the journal holds; `models` maps the versions that take part to their models."""
        while records := self._reader.poll(1000):
            for record in records:
                if record.kind == "prediction":
                    self._predicted(record, plan, models)
                elif record.kind == "feedback":
                    feedback = record.read(Feedback)
                    self._join.labelled((feedback.prediction, feedback.row), feedback.value, feedback.time)
        self.state.position = self._reader.position

    def release(self) -> list[ScoredRow]:
        """Return the rows that the watermark passed since the last call, in prediction-time order."""
        joined = self._join.release()
        versions = {v for row in joined for v in row.payload["scores"]}
        losses: dict[str, dict[int, float]] = {}
        for version in versions:
            rows = [i for i, row in enumerate(joined) if version in row.payload["scores"]]
            outputs: dict[str, list[Any]] = {}
            for i in rows:
                for name, value in joined[i].payload["scores"][version].items():
                    outputs.setdefault(name, []).append(value)
            found = self._losses([joined[i].value for i in rows], outputs)
            losses[version] = dict(zip(rows, map(float, found), strict=True))
        return [
            ScoredRow(
                time=row.time,
                observed=row.observed,
                answered=losses[row.payload["version"]][i],
                losses={v: losses[v][i] for v in row.payload["scores"]},
            )
            for i, row in enumerate(joined)
        ]

    @property
    def label_coverage(self) -> float:
        return self._join.label_coverage

    def _predicted(self, record: Record, plan: Plan, models: Mapping[str, Model]) -> None:
        prediction = record.read(Prediction)
        scores = {prediction.version: prediction.outputs}
        for version, model in models.items():
            late = plan.candidate and version == plan.candidate.version and record.time < plan.since
            if version != prediction.version and not late:
                scores[version] = model.predict_lists(prediction.inputs)
        for row in range(len(next(iter(prediction.outputs.values())))):
            payload = {
                "version": prediction.version,
                "scores": {v: {name: values[row] for name, values in out.items()} for v, out in scores.items()},
            }
            self._join.predicted((record.id, row), record.time, payload)
        self.inputs.add(record.time, prediction.inputs, self._keep)
        self.state.answered += 1
        self.state.traffic[prediction.version] = self.state.traffic.get(prediction.version, 0) + 1
