"""How far answers move when inputs are a little wrong or not there; no truth is needed for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.errors import RequestError
from everloop.evaluation.answered import Answered, spread_out
from everloop.evaluation.explanations import Predict
from everloop.evaluation.intervals import Figure, figure

__all__ = ["ROWS", "Moved", "robustness", "spread_of"]

Inputs = Mapping[str, NDArray[Any]]
ROWS, NOISE = 2000, 0.1
INTERQUARTILE = 1.349
"""The interquartile range of a normal distribution of standard deviation 1."""


class Moved(msgspec.Struct, frozen=True):
    """What a change of inputs does: `by` is how far answers move.

    Of values, the root mean square of the change over the errors that the model makes anyway; of classes, the share of
    rows that get another label. None where the model gives no usable answer any more.
    """

    change: str
    by: Figure | None


def robustness(rows: Answered, predict: Predict) -> list[Moved]:
    """Return what noise of a tenth of each number's spread does, and each column that is missing.

    The spread goes by the middle half of the values, so that a number that is nearly always the same gets no noise;
    whole numbers stay whole.
    """
    some = rows.take(spread_out(len(rows), ROWS))
    before = predict(some.inputs)
    return [Moved(name, _moved(some, before, changed, predict)) for name, changed in _changes(some)]


def spread_of(there: NDArray[np.float64]) -> float:
    """Return how far numbers lie apart: their interquartile range as a standard deviation."""
    return float(np.subtract(*np.quantile(there, [0.75, 0.25]))) / INTERQUARTILE


def _changes(rows: Answered) -> Iterator[tuple[str, Inputs]]:
    rng, noisy = np.random.default_rng(0), dict(rows.inputs)
    floats = [c for c in rows.columns if c.dtype == "float64" and not c.shape]
    for column in floats:
        noisy[column.name] = _noisy(rows.inputs[column.name].astype(np.float64), rng)
    if floats:
        yield "noise in all numbers", noisy
    for column in floats:
        yield f"{column.name} is missing", {**rows.inputs, column.name: np.full(len(rows), np.nan)}
    for column in rows.columns:
        if column.dtype == "string":
            yield f"{column.name} is empty", {**rows.inputs, column.name: np.full(len(rows), "", dtype=object)}


def _noisy(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    there = values[~np.isnan(values)]
    if not len(there):
        return values
    changed = values + rng.normal(0, NOISE * spread_of(there), len(values))
    return np.round(changed) if (there == np.round(there)).all() else changed


def _moved(rows: Answered, before: NDArray[np.float64], changed: Inputs, predict: Predict) -> Figure | None:
    try:
        after = predict(changed)
    except RequestError:
        return None
    if not np.isfinite(after).all():
        return None
    if rows.task == "classification":
        other = (before.argmax(1) != after.argmax(1)).astype(np.float64)
        return figure(lambda chosen: float(other[chosen].mean()), rows.blocks)
    usual = float(np.sqrt(rows.losses.mean())) or 1.0
    square = ((after - before) / usual) ** 2
    return figure(lambda chosen: float(np.sqrt(square[chosen].mean())), rows.blocks)
