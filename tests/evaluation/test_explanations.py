"""What answers depend on is found where it is known: in a sum of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.evaluation.rows import HOUR, classes

from everloop.evaluation import Answered, evaluate
from everloop.evaluation.explanations import importances
from everloop.types import Column

Inputs = Mapping[str, NDArray[Any]]


def linear(inputs: Inputs) -> NDArray[np.float64]:
    return np.asarray(10 * inputs["a"] - 3 * inputs["b"] + 5 * (inputs["c"] == "x"), dtype=np.float64)


def rows_of(kinds: str = "categorical", rows: int = 640) -> Answered:
    rng = np.random.default_rng(0)
    inputs: dict[str, NDArray[Any]] = {
        "a": rng.normal(size=rows), "b": rng.normal(size=rows), "idle": rng.normal(size=rows),
        "c": rng.choice(np.array(["x", "y"], dtype=object), rows),
    }  # fmt: skip
    columns = (
        Column("a", "float64"), Column("b", "float64"), Column("idle", "float64"),
        Column("c", "string", "text" if kinds == "text" else "categorical"),
    )  # fmt: skip
    answers = linear(inputs)
    times = np.arange(rows, dtype=np.float64) * HOUR
    return Answered("regression", (), columns, inputs, answers + rng.normal(0, 1, rows), answers, times, 24 * HOUR)


def test_columns_are_weighed_by_what_they_move() -> None:
    rows = rows_of()
    found = {one.column: one for one in importances(rows, linear)}
    assert list(found) == ["a", "c", "b", "idle"]
    explained = rows.take(np.unique(np.linspace(0, 639, 64).astype(int))).inputs["a"]
    usual = rows.take(np.unique(np.linspace(0, 639, 16).astype(int))).inputs["a"].mean()
    assert found["a"].moves.value == pytest.approx(float(np.abs(10 * (explained - usual)).mean()))
    assert found["idle"].moves.value == pytest.approx(0.0, abs=1e-9)
    assert sum(one.share for one in found.values()) == pytest.approx(1.0)
    assert found["a"].rises == pytest.approx(1.0)
    assert found["b"].rises == pytest.approx(-1.0)
    assert found["c"].rises is None
    assert found["a"].moves.low is not None
    assert found["a"].moves.low < found["a"].moves.value


def test_the_probability_of_the_second_class_is_explained() -> None:
    rows = classes(400)

    def predict(inputs: Inputs) -> NDArray[np.float64]:
        second = 1 / (1 + np.exp(-inputs["score"].astype(np.float64)))
        return np.column_stack([1 - second, second])

    score, group = importances(rows, predict)
    assert score.column == "score"
    assert score.rises == pytest.approx(1.0)
    assert group.moves.value == pytest.approx(0.0, abs=1e-9)
    assert evaluate(rows, predict).importances == [score, group]


def test_texts_are_not_explained() -> None:
    assert importances(rows_of("text"), linear) == []
