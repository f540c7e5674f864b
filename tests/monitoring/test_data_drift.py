"""Data drift: the column that moved is named, the others stay quiet."""

from __future__ import annotations

import numpy as np

from everloop.monitoring import data_drift
from everloop.types import Column

COLUMNS = (
    Column("temp", "float64"),
    Column("hum", "float64"),
    Column("weather", "string", "categorical", categories=("rain", "sun")),
    Column("note", "string", "text"),
)


def test_only_the_column_that_moved_fires() -> None:
    rng = np.random.default_rng(0)
    reference = {"temp": rng.normal(size=800), "hum": rng.normal(size=800), "weather": ["sun", "rain"] * 400}
    window = {
        "temp": rng.normal(1, 1, 300).tolist(),
        "hum": rng.normal(size=300).tolist(),
        "weather": ["sun", "rain"] * 150,
    }
    signals = {s.evidence["column"]: s for s in data_drift(COLUMNS, reference, window, start=1.0, end=2.0)}
    assert {name: s.firing for name, s in signals.items()} == {"temp": True, "hum": False, "weather": False}
    assert signals["temp"].evidence["mean_now"] > signals["temp"].evidence["mean_before"] + 0.5


def test_a_category_that_takes_over_fires() -> None:
    signals = data_drift(COLUMNS[2:3], {"weather": ["sun", "rain"] * 100}, {"weather": ["rain"] * 100}, start=0, end=1)
    assert signals[0].firing
