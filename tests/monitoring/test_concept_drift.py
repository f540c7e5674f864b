"""Two signals: a change of the model's rightness fires, a season that makes everybody's loss rise does not pay."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.monitoring import ConceptDrift, DriftRules, DriftState, LabelledRow, started
from everloop.types import Signal

DAY = 86400.0


def squared(truth: NDArray[Any], answers: NDArray[np.float64]) -> NDArray[np.float64]:
    losses: NDArray[np.float64] = (truth - answers) ** 2
    return losses


def stream(days: int, factor: float, noise: float, seed: int, start: int = 0) -> list[LabelledRow]:
    """Hourly rows whose truth is `factor` times the answer, plus noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for hour in range(days * 24):
        answer = float(rng.uniform(50, 150))
        truth = factor * answer + float(rng.normal(0, noise))
        rows.append(LabelledRow(start * DAY + hour * 3600, truth, [answer], (truth - answer) ** 2))
    return rows


def detector(noise: float = 10.0) -> ConceptDrift:
    baseline = np.array([r.loss for r in stream(40, 1.0, noise, 9)]).reshape(40, 24).mean(1)
    return ConceptDrift(DriftRules("regression"), squared, started(baseline.tolist(), 0.0, DAY))


def firing(drift: ConceptDrift, day: int) -> dict[str, bool]:
    return {s.name: s.firing for s in drift.signals(day * DAY, 1.0)}


def test_a_model_that_stays_right_is_left_alone() -> None:
    quiet = 0
    for seed in range(12):
        drift = detector()
        drift.update(stream(60, 1.0, 10.0, seed))
        quiet += not any(firing(drift, 60).values())
    assert quiet >= 10


def test_a_change_of_level_fires_both_signals_within_ten_days() -> None:
    drift = detector()
    drift.update(stream(20, 1.0, 10.0, 1))
    drift.update(stream(10, 1.5, 10.0, 2, start=20))
    assert firing(drift, 30) == {"realised_loss": True, "challenger_gain": True}


def test_noise_that_no_model_could_learn_raises_the_loss_but_shows_no_gain() -> None:
    drift = detector()
    drift.update(stream(20, 1.0, 10.0, 1))
    drift.update(stream(20, 1.0, 40.0, 2, start=20))
    assert firing(drift, 40) == {"realised_loss": True, "challenger_gain": False}


def test_rebasing_answers_the_old_alarm() -> None:
    drift = detector()
    drift.update(stream(30, 1.0, 40.0, 3))
    assert firing(drift, 30)["realised_loss"]
    drift.rebase(30 * DAY)
    drift.update(stream(10, 1.0, 40.0, 4, start=30))
    assert not firing(drift, 40)["realised_loss"]


def test_a_restart_between_any_two_days_gives_the_same_signals() -> None:
    rows = stream(30, 1.2, 20.0, 5)
    whole, parts = detector(), detector()
    whole.update(rows)
    for day in range(30):
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(parts.state), type=DriftState)
        parts = ConceptDrift(parts.rules, squared, state)
        parts.update(rows[day * 24 : (day + 1) * 24])
    first: list[Signal] = whole.signals(30 * DAY, 1.0)
    assert first == parts.signals(30 * DAY, 1.0)


def test_classification_gains_from_a_shift_of_the_classes() -> None:
    def log_loss(truth: NDArray[Any], answers: NDArray[np.float64]) -> NDArray[np.float64]:
        chosen: NDArray[np.float64] = -np.log(answers[np.arange(len(truth)), truth.astype(int)])
        return chosen

    rng = np.random.default_rng(6)
    drift = ConceptDrift(DriftRules("classification"), log_loss, started([0.6] * 10, 0.0, DAY))
    rows = []
    for hour in range(20 * 24):
        answer = rng.dirichlet([3, 3])
        truth = int(rng.random() < 0.85)
        rows.append(LabelledRow(hour * 3600.0, truth, answer.tolist(), -float(np.log(answer[truth]))))
    drift.update(rows)
    assert firing(drift, 20)["challenger_gain"]
