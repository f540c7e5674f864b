"""Answers move as far as noise and gaps move the inputs that they depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.evaluation.rows import classes
from tests.evaluation.test_explanations import linear, rows_of

from everloop.errors import RequestError
from everloop.evaluation.robustness import robustness

Inputs = Mapping[str, NDArray[Any]]


def test_noise_moves_answers_by_its_size() -> None:
    rows = rows_of()
    found = {one.change: one.by for one in robustness(rows, linear)}
    assert list(found) == ["noise in all numbers", "a is missing", "b is missing", "idle is missing", "c is empty"]
    noise = found["noise in all numbers"]
    assert noise is not None
    assert noise.value == pytest.approx(0.1 * np.hypot(10, 3), rel=0.15)  # the errors have a standard deviation of 1
    assert noise.low is not None
    assert noise.low < noise.value
    assert found["a is missing"] is None, "a sum with nothing in it is no answer"
    empty = found["c is empty"]
    assert empty is not None
    assert empty.value == pytest.approx(5 * np.sqrt((rows.inputs["c"] == "x").mean()), rel=0.1)


def test_whole_numbers_stay_whole_and_flags_as_they_are() -> None:
    rows = rows_of()
    rows.inputs["a"] = np.repeat([0.0, 1.0], 320)
    rows.inputs["b"] = np.arange(640.0)
    seen: list[Inputs] = []

    def predict(inputs: Inputs) -> NDArray[np.float64]:
        seen.append(inputs)
        return np.zeros(640)

    robustness(rows, predict)
    noisy = seen[1]
    assert (noisy["a"] == rows.inputs["a"]).all()
    assert (noisy["b"] == np.round(noisy["b"])).all()
    assert (noisy["b"] != rows.inputs["b"]).mean() > 0.9


def test_labels_that_change_are_counted_and_what_is_refused_is_told() -> None:
    def predict(inputs: Inputs) -> NDArray[np.float64]:
        if (inputs["group"] == "").any():
            raise RequestError("no group")
        second = np.where(np.isnan(inputs["score"]), 1.0, inputs["score"] > 0).astype(np.float64)
        return np.column_stack([1 - second, second])

    rows = classes(400)
    found = {one.change: one.by for one in robustness(rows, predict)}
    missing = found["score is missing"]
    assert missing is not None
    assert missing.value == float((rows.inputs["score"] <= 0).mean())
    assert found["group is empty"] is None
