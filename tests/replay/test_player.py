from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.projects import write_project

from everloop.replay.history import History, load_history
from everloop.replay.player import Answer, answer_of, play, request_of
from everloop.serving.protocol import InferResponse, OutputTensor
from everloop.settings import load
from everloop.types import Feedback

DAY = 86400.0


class Recorder:
    """Remembers the order of what is sent, and fails each hundredth prediction."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, float]] = []
        self.ids: list[str] = []
        self.labels: list[Feedback] = []

    def predict(self, id: str, time: float, inputs: dict[str, Any]) -> Answer | None:
        self.sent.append(("predict", time))
        self.ids.append(id)
        assert set(inputs) == {"a", "b", "hour"}
        return None if len(self.ids) % 100 == 0 else Answer("v1", {"prediction": [1.0]})

    def label(self, labels: list[Feedback]) -> None:
        self.sent += [("label", f.time) for f in labels]
        self.labels += labels

    def advance(self, now: float) -> None:
        self.sent.append(("advance", now))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = write_project(tmp_path_factory.mktemp("toy") / "project")
    return load_history(folder, load(folder))


def test_a_day_of_rows_then_the_labels_due_then_the_loop(history: History) -> None:
    live, days = Recorder(), []
    played = play(history, live, 24 * 3600.0, lambda day, total: days.append((day, total)))
    start = float(history.live_times[0])
    assert len(live.ids) == len(set(live.ids)) == len(history.live)
    assert live.ids == sorted(live.ids)
    clock = start
    for kind, time in live.sent:
        if kind == "advance":
            clock = time
        elif kind == "predict":
            assert clock <= time < clock + DAY
        else:
            assert time <= clock + DAY
    assert days[-1][0] == days[-1][1] == sum(kind == "advance" for kind, _ in live.sent)
    assert [f.prediction for f in live.labels] == live.ids[: len(live.labels)]
    assert played.versions[99] == ""
    assert np.isnan(played.answers[99])
    assert not np.isnan(played.answers[98])


def test_the_same_row_has_the_same_id_in_every_replay(history: History) -> None:
    first, second = Recorder(), Recorder()
    for live in (first, second):
        play(history, live, DAY, lambda _day, _days: None)
    assert first.ids == second.ids


def test_requests_and_answers_are_the_protocols() -> None:
    request = request_of("id", 5.0, {"a": np.float64(1.5), "b": "x"}, {"a": "FP64", "b": "BYTES"})
    assert [(t.name, t.shape, t.datatype, t.data) for t in request.inputs] == [
        ("a", [1], "FP64", [1.5]),
        ("b", [1], "BYTES", ["x"]),
    ]
    assert (request.id, request.parameters) == ("id", {"time": 5.0})
    outputs = [
        OutputTensor("label", "BYTES", (2,), ["no", "yes"]),
        OutputTensor("probability", "FP64", (2, 2), [0.9, 0.1, 0.2, 0.8]),
    ]
    answer = answer_of(InferResponse("m", "v1", "id", {}, outputs))
    assert answer.outputs == {"label": ["no", "yes"], "probability": [[0.9, 0.1], [0.2, 0.8]]}


def test_the_history_is_cut_at_the_start(history: History, tmp_path: Path) -> None:
    assert len(history.known) == history.start == 360
    assert len(history.live) + history.start == len(history.table) == 900
    assert history.times[history.start] == history.live_times[0]
    folder = write_project(tmp_path / "project", "classification")
    classes = load_history(folder, load(folder))
    assert set(classes.truth()) == {0, 1}
    assert classes.schema.classes == ("no", "yes")
