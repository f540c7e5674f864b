"""What would have had to be different for another answer: few changes of a row, to values of real rows.

The search starts at the nearest rows that are answered as wanted (Wachter et al. 2018; Keane and Smyth 2020), and takes
back one change after another as long as the answer stays wanted. What is left is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.errors import UsageError
from everloop.evaluation.answered import spread_out
from everloop.evaluation.explanations import Predict
from everloop.evaluation.movable import unit_of
from everloop.types import Column

__all__ = ["Change", "Counterfactual", "Said", "Wanted", "changeable", "counterfactuals", "said"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Inputs = dict[str, NDArray[Any]]
Wanted = Callable[[Floats], Bools]
"""Tells which answers are wanted ones."""
NEAR, STARTS, VALUES, WAYS = 1000, 40, 32, 3
"""Near rows looked at, those that a search starts at, values of a number that are tried, and ways that are told."""


class Change(msgspec.Struct, frozen=True):
    """A column of a row, its value, and the one that it would have had to have; None is a missing number."""

    column: str
    before: Any
    after: Any


class Said(msgspec.Struct, frozen=True):
    """An answer as a person reads it: a value, or the likeliest label and its probability."""

    value: Any
    probability: float | None = None


class Counterfactual(msgspec.Struct, frozen=True):
    """Changes that together give a wanted answer, each of them needed, and that answer."""

    changes: list[Change]
    answer: Said


def changeable(columns: Sequence[Column], kept: Collection[str] = ()) -> list[str]:
    """Return which columns may change: numbers, flags and categories, but none that is kept.

    Raises `UsageError` where nothing is left.
    """
    names = [c.name for c in columns if not c.shape and c.prepare is None and c.kind != "text" and c.name not in kept]
    if not names:
        raise UsageError("no column may change: texts, images and videos never do, and all others are kept")
    return names


def said(answer: Any, classes: Sequence[Any]) -> Said:
    """Return one answer, a value or probabilities by class, as a person reads it."""
    if not classes:
        return Said(float(answer))
    return Said(classes[int(np.argmax(answer))], float(np.max(answer)))


def counterfactuals(
    row: Inputs,
    pool: Inputs,
    answers: Floats,
    predict: Predict,
    wanted: Wanted,
    free: Sequence[str],
    classes: Sequence[Any] = (),
) -> list[Counterfactual]:
    """Return up to three ways to a wanted answer that differ in their columns, that of fewest changes first.

    `row` holds one value a column, `pool` the rows that values come from, `answers` the model's to them; only `free`
    columns change. None is found where no near row gives a wanted answer with what the row keeps.
    """
    search = _Search(row, pool, predict, wanted, free)
    held = search.needed(search.nearer(search.needed(search.starts(answers))))
    changed = search.steps(held)
    order = np.lexsort((changed.sum(1), (changed > 0).sum(1)))
    found: dict[tuple[int, ...], Counterfactual] = {}
    for place in order.tolist():
        columns = tuple(np.flatnonzero(changed[place]).tolist())
        if columns not in found and len(found) < WAYS:
            way = _some(held, [place])
            changes = [Change(free[one], _plain(row[free[one]][0]), _plain(way[free[one]][0])) for one in columns]
            found[columns] = Counterfactual(changes, said(predict(way)[0], classes))
    return list(found.values())


class _Search:
    """Rows on their way from real ones back to the row in question; all of them are asked at once."""

    def __init__(self, row: Inputs, pool: Inputs, predict: Predict, wanted: Wanted, free: Sequence[str]) -> None:
        self._row, self._pool, self._free = row, pool, free
        self._predict, self._is_wanted = predict, wanted
        self._unit = {name: unit_of(pool[name]) or 1.0 for name in free if pool[name].dtype.kind in "fi"}

    def steps(self, inputs: Inputs) -> Floats:
        """Return how far each free column is from the row's: in spreads, or 1 for what has none."""
        found = np.zeros((len(next(iter(inputs.values()))), len(self._free)))
        for place, name in enumerate(self._free):
            values, own = inputs[name], self._row[name][0]
            if name in self._unit:
                far = np.abs(values.astype(np.float64) - float(own)) / self._unit[name]
                found[:, place] = np.where(np.isnan(far), _missing(values) != _missing(self._row[name])[0], far)
            else:
                found[:, place] = values != own
        return found

    def starts(self, answers: Floats) -> Inputs:
        """Return the nearest rows answered as wanted that still are with all that the row keeps, or misses."""
        there = np.flatnonzero(self._is_wanted(answers))
        there = there[np.argsort(self.steps(_some(self._pool, there)).sum(1), kind="stable")[:NEAR]]
        held = {name: np.repeat(values, len(there), axis=0) for name, values in self._row.items()}
        for name in self._free:
            seen = self._pool[name][there].astype(held[name].dtype)
            held[name] = np.where(_missing(seen), held[name], seen)
        return _some(held, np.flatnonzero(self._wanted(held))[:STARTS]) if len(there) else held

    def needed(self, held: Inputs) -> Inputs:
        """Take back, of each row, the largest change that its answer does not need, until it needs all of them."""
        held = {name: values.copy() for name, values in held.items()}
        while True:
            steps = self.steps(held)
            rows, columns = np.nonzero(steps)
            if not len(rows):
                return held
            trial = _some(held, rows)
            for place, name in enumerate(self._free):
                trial[name][columns == place] = self._row[name][0]
            worth = np.where(self._wanted(trial), steps[rows, columns], 0.0)
            if not worth.any():
                return held
            best: dict[int, int] = {}
            for one in np.argsort(worth, kind="stable")[::-1].tolist():
                if worth[one] > 0:
                    best.setdefault(int(rows[one]), one)
            for row, one in best.items():
                held[self._free[columns[one]]][row] = self._row[self._free[columns[one]]][0]

    def nearer(self, held: Inputs) -> Inputs:
        """Bring the numbers of each row as near as real values do whose answer is still wanted."""
        held = {name: values.copy() for name, values in held.items()}
        for name in self._unit:
            own = float(self._row[name][0])
            for place, value in enumerate(held[name].astype(np.float64).tolist()):
                between = self._between(name, own, value)
                if not len(between):
                    continue
                trial = _some(held, np.full(len(between), place, dtype=np.int64))
                trial[name] = between
                if (fine := np.flatnonzero(self._wanted(trial))).size:
                    held[name][place] = between[fine[0]]
        return held

    def _between(self, name: str, own: float, value: float) -> NDArray[Any]:
        """Return real values between two, those near to the first one first."""
        seen = np.unique(self._pool[name][~_missing(self._pool[name])])
        some = seen[(seen > min(own, value)) & (seen < max(own, value))]
        some = some if own < value else some[::-1]
        return some[spread_out(len(some), VALUES)] if len(some) else some

    def _wanted(self, inputs: Inputs) -> Bools:
        return self._is_wanted(self._predict(inputs))


def _some(inputs: Inputs, rows: Any) -> Inputs:
    return {name: values[rows] for name, values in inputs.items()}


def _missing(values: NDArray[Any]) -> Bools:
    """Return which values are missing: no number, or an empty text."""
    return np.isnan(values) if values.dtype.kind == "f" else np.asarray(values == "", dtype=np.bool_)


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value
