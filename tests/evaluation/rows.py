"""Rows with answers whose faults are known."""

from __future__ import annotations

import numpy as np

from everloop.evaluation import Answered
from everloop.types import Column

HOUR = 3600.0
WEATHER = ("clear", "rain", "snow")


def values(rows: int = 4000, seed: int = 0, block: float = 24 * HOUR) -> Answered:
    """Return hourly numbers whose answers are five times as far off at night when it rains."""
    rng = np.random.default_rng(seed)
    hour = (np.arange(rows) % 24).astype(np.float64)
    weather = rng.choice(np.array(WEATHER, dtype=object), rows)
    truth = 100 + 3 * hour + rng.normal(0, 1, rows)
    bad = (hour < 6) & (weather == "rain")
    answers = truth + rng.normal(0, np.where(bad, 25.0, 5.0), rows)
    columns = (Column("hour", "float64"), Column("weather", "string", "categorical", categories=WEATHER))
    inputs = {"hour": hour, "weather": weather}
    return Answered("regression", (), columns, inputs, truth, answers, np.arange(rows, dtype=np.float64) * HOUR, block)


def classes(rows: int = 4000, seed: int = 0, sharper: float = 1.0) -> Answered:
    """Return rows of two classes whose probabilities are right; with `sharper` above 1 they are too sure."""
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 1.5, rows)
    truth = (rng.uniform(size=rows) < 1 / (1 + np.exp(-score))).astype(np.int64)
    second = 1 / (1 + np.exp(-sharper * score))
    group = np.where(rng.uniform(size=rows) < 0.5, "a", "b").astype(object)
    columns = (Column("score", "float64"), Column("group", "string", "categorical", categories=("a", "b")))
    answers = np.column_stack([1 - second, second])
    inputs = {"score": score, "group": group}
    return Answered(
        "classification", ("no", "yes"), columns, inputs, truth, answers, np.arange(rows, dtype=np.float64) * 60.0, 0.0
    )
