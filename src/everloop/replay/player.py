"""Plays history: a day of predictions, then the labels due, then the loop's turn; the replay owns the clock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.loop.client import infer_request
from everloop.replay.history import History
from everloop.serving.protocol import InferRequest, InferResponse
from everloop.types import Feedback, new_id

__all__ = ["Answer", "Live", "Played", "answer_of", "play", "request_of"]

DAY = 86400.0


class Answer(msgspec.Struct, frozen=True):
    """What came back for one row: the version that answered, and its outputs by name, one value a row."""

    version: str
    outputs: dict[str, list[Any]]


class Live(Protocol):
    """A running loop, seen from outside: a server over HTTP, or its plane in this process."""

    def predict(self, id: str, time: float, inputs: dict[str, Any]) -> Answer | None:
        """Return the answer to one row, which is journalled by then; None where the request failed."""

    def label(self, labels: list[Feedback]) -> None:
        """Hand over true values, which are journalled by then."""

    def advance(self, now: float) -> None:
        """Return once monitors and controller have committed all that was journalled before `now`."""


def request_of(id: str, time: float, inputs: dict[str, Any], datatypes: dict[str, str]) -> InferRequest:
    """Return the inference request of one row."""
    return infer_request({name: [value] for name, value in inputs.items()}, datatypes, id, time)


def answer_of(response: InferResponse) -> Answer:
    """Return the answer that a response carries."""
    return Answer(response.model_version, {o.name: _rows(o.shape, o.data) for o in response.outputs})


class Played(msgspec.Struct, frozen=True):
    """One value a live row: who answered, and with what (values, or probabilities); NaN where nobody did."""

    versions: list[str]
    answers: NDArray[np.float64]


def play(history: History, live: Live, delay: float, on_day: Callable[[int, int], None]) -> Played:
    """Send every live row in time order, each label `delay` seconds after its prediction."""
    rows: list[Any] = history.live[history.schema.names].to_dict("records")
    targets = history.live[history.schema.target.name].tolist()
    times = history.live_times.tolist()
    output = "prediction" if history.schema.task == "regression" else "probability"
    missing = np.nan if history.schema.task == "regression" else [np.nan] * len(history.schema.classes)
    versions: list[str] = []
    answers: list[Any] = []
    ids: list[str] = []
    begin = times[0]
    days = int((times[-1] - begin) // DAY) + 1
    labelled = 0
    for day in range(days):
        end = begin + (day + 1) * DAY
        while len(ids) < len(times) and times[len(ids)] < end:
            row = len(ids)
            ids.append(_id(times[row], row))
            answer = live.predict(ids[row], times[row], rows[row])
            versions.append(answer.version if answer else "")
            answers.append(answer.outputs[output][0] if answer else missing)
        due = labelled
        while due < len(ids) and times[due] + delay <= end:
            due += 1
        if due > labelled:
            live.label([Feedback(ids[i], targets[i], times[i] + delay) for i in range(labelled, due)])
            labelled = due
        live.advance(end)
        on_day(day + 1, days)
    return Played(versions, np.asarray(answers, dtype=np.float64))


def _rows(shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    if len(shape) < 2:
        return data
    width = shape[1]
    return [data[i : i + width] for i in range(0, len(data), width)]


def _id(time: float, row: int) -> str:
    """Return the id of a replayed row: the same in every replay, so that a repeated request is the same request."""
    return new_id(time, hashlib.sha256(str(row).encode()).digest()[:10])
