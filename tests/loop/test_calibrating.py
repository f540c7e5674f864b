"""Recalibration: on where it gains, off where it hurts, and what is served is what the rows say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.projects import write_project
from tests.replays import Replayed, replay

from everloop import store as tables
from everloop.journal import Reader
from everloop.loop.calibrating import Calibration, follow, reference_of, rules_of
from everloop.monitoring import ConceptDrift, LabelledRow, started
from everloop.statistics import apply_level
from everloop.types import Prediction

DAY = 86400.0
RULES = rules_of("regression", DAY, (0.5, 2.0))


def rows(days: range, level: float, seed: int = 0) -> list[LabelledRow]:
    rng = np.random.default_rng(seed)
    found = []
    for time in np.arange(days.start * DAY, days.stop * DAY, DAY / 8):
        answer = float(rng.uniform(50, 150))
        truth = answer * level + float(rng.normal(0, 5))
        found.append(LabelledRow(float(time), truth, [answer], (truth - answer) ** 2))
    return found


def test_a_level_follows_the_newest_labels_within_its_bounds() -> None:
    state = Calibration(on=True)
    assert not follow(state, RULES, {"v1": rows(range(2), 1.5)}, 2 * DAY)  # too few blocks
    assert follow(state, RULES, {"v1": rows(range(2, 8), 1.5)}, 8 * DAY)
    assert state.levels["v1"] == pytest.approx([1.5], abs=0.05)
    assert not follow(state, RULES, {"v1": ()}, 8 * DAY + 60)  # nothing new: no new plan
    assert follow(state, RULES, {"v1": rows(range(8, 20), 5.0), "v2": ()}, 20 * DAY)
    assert state.levels == {"v1": [2.0]}
    assert {row.time for row in state.rows["v1"]} <= set(np.arange(13 * DAY, 20 * DAY, DAY / 8))
    state.on = False
    assert follow(state, RULES, {"v1": ()}, 20 * DAY)
    assert not state.levels


def test_weights_of_classes_are_bounded_too() -> None:
    rules = rules_of("classification", DAY, (0.5, 2.0))
    found = [LabelledRow(t * DAY / 8, 1.0, [0.9, 0.1], 2.3) for t in range(64)]  # always the class it thinks unlikely
    state = Calibration(on=True)
    assert follow(state, rules, {"v1": found}, 8 * DAY)
    assert state.levels["v1"] == pytest.approx([0.2, 0.8], abs=0.01)  # (0.5, 2.0), made to sum to one
    assert sum(state.levels["v1"]) == pytest.approx(1.0, abs=1e-5)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    folder = write_project(tmp_path_factory.mktemp("moved") / "project", recalibration=True)
    with replay(folder, tmp_path_factory.mktemp("state")) as replayed:
        yield replayed


def test_a_level_that_moved_is_answered_without_a_retraining(moved: Replayed) -> None:
    decisions = moved.rows(tables.decision)
    assert [d["response"] for d in decisions if d["response"] != "hold"] == ["retrain", "recalibrate"]
    assert any("answers are corrected from now on: a level" in d["reason"] for d in decisions)
    truth, late = moved.history.truth(), moved.history.live_times > moved.history.live_times[0] + 35 * DAY
    left_alone = [abs(y / 1.5 - y) for y in truth[late]]
    assert np.abs(moved.played.answers[late] - truth[late]).mean() < 0.2 * np.mean(left_alone)


def test_the_journal_keeps_raw_answers_and_the_level_that_corrected_them(moved: Replayed) -> None:
    reader, corrected = Reader(moved.workspace.journal), 0
    while records := reader.poll():
        for record in records:
            if record.kind == "prediction" and (prediction := record.read(Prediction)).level:
                raw = np.asarray(prediction.raw["prediction"])
                assert apply_level(raw, np.asarray(prediction.level)).tolist() == prediction.outputs["prediction"]
                corrected += 1
    reader.close()
    assert corrected > 100


def test_what_a_model_was_judged_on_says_what_correcting_gains(moved: Replayed) -> None:
    first = moved.workspace.model(moved.rows(tables.model_version)[0]["bundle"])
    calm = reference_of(first, DAY, (0.5, 2.0))
    assert calm.evidence < 40  # before the change there was nothing to correct: so it did not begin corrected
    assert len(calm.baseline) == len(calm.levelled)


def test_raw_answers_that_lose_less_are_a_signal() -> None:
    def squared(truth: NDArray[Any], answers: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.square(truth.astype(np.float64) - answers)

    drift = ConceptDrift(RULES, squared, started([25.0] * 10, 0.0, DAY))
    drift.recalibrated(True, 0.0)
    wrongly = [  # a level of 1.2 is served where there is nothing to correct
        LabelledRow(r.time, r.truth, r.answer, (r.truth - 1.2 * r.answer[0]) ** 2) for r in rows(range(21), 1.0)
    ]
    drift.update(wrongly)
    signals = {s.name: s for s in drift.signals(21 * DAY, 1.0)}
    assert signals["raw_gain"].firing
    assert signals["raw_gain"].evidence["gain"] > 0
    drift.recalibrated(False, 21 * DAY)
    assert "raw_gain" not in {s.name for s in drift.signals(21 * DAY, 1.0)}
