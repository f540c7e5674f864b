"""What a model's answers depend on: how far each column moves them, averaged over rows.

Interventional Shapley values, as the server gives them for one answer (`inference.shapley`), held against SHAP's exact
tree explainer in the benchmarks; their mean size is SHAP's global importance (Lundberg et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.evaluation.answered import Answered, spread_out
from everloop.evaluation.intervals import Figure, figures
from everloop.inference.shapley import explain

__all__ = ["Importance", "Predict", "importances"]

Floats = NDArray[np.float64]
Predict = Callable[[Mapping[str, NDArray[Any]]], Floats]
"""Answers of a model to inputs: of shape (rows,), or (rows, classes)."""
ROWS, USUAL, BUDGET = 64, 16, 4000
"""Rows that are explained, rows that stand for the usual, and rows that one explanation may have computed."""


class Importance(msgspec.Struct, frozen=True):
    """How far a column moves answers on average, in their unit, and its `share` of what all columns move.

    `rises` is the rank correlation of a number with what it adds: 1 where more of it always raises the answer.
    """

    column: str
    moves: Figure
    share: float
    rises: float | None


def importances(rows: Answered, predict: Predict) -> list[Importance]:
    """Return the columns, the weightiest first; none of one column, and none of texts, images and videos: too dear.

    Explained is the value, the probability of the second of two classes, or that of the likeliest of more.
    """
    names = [c.name for c in rows.columns]
    if len(names) < 2 or any(c.shape or c.kind == "text" for c in rows.columns):
        return []
    place = spread_out(len(rows), ROWS)
    values = _values(rows, predict, place, names)
    drawn = figures(
        lambda chosen: dict(zip(names, np.abs(values[chosen]).mean(0).tolist(), strict=True)), rows.blocks[place]
    )
    total = sum(one.value for one in drawn.values()) or 1.0
    found = [
        Importance(name, drawn[name], drawn[name].value / total, _rises(rows.inputs[name][place], values[:, column]))
        for column, name in enumerate(names)
    ]
    return sorted(found, key=lambda one: -one.moves.value)


def _values(rows: Answered, predict: Predict, place: NDArray[np.int64], names: list[str]) -> Floats:
    """Return the Shapley values of some rows, each held against the same usual rows."""
    usual = spread_out(len(rows), USUAL)
    background = {name: rows.inputs[name][usual] for name in names}
    found = np.empty((len(place), len(names)))
    for number, one in enumerate(place.tolist()):
        row = {name: rows.inputs[name][one : one + 1] for name in names}
        told = explain(_number(predict, rows, one), row, background, budget=BUDGET, seed=number)
        found[number] = [told.values[name] for name in names]
    return found


def _number(predict: Predict, rows: Answered, one: int) -> Callable[[dict[str, NDArray[Any]]], Floats]:
    """Return what gives one number a row."""
    if rows.task == "regression":
        return predict
    label = 1 if len(rows.classes) == 2 else int(rows.answers[one].argmax())
    return lambda inputs: np.asarray(predict(inputs)[:, label])


def _rises(values: NDArray[Any], added: Floats) -> float | None:
    if values.dtype.kind not in "iufb":
        return None
    numbers = values.astype(np.float64)
    there = ~np.isnan(numbers)
    one, other = _ranks(numbers[there]), _ranks(added[there])
    if there.sum() < 3 or min(one.std(), other.std()) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(values: Floats) -> Floats:
    """Return ranks, those of equal values their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Floats = np.cumsum(counts) - (counts - 1) / 2.0
    return middle[inverse]
