"""Inputs as points that can be moved a little: numbers and pixels, in units of their column's spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from everloop.errors import UsageError
from everloop.evaluation.robustness import spread_of
from everloop.types import Column

__all__ = ["Movable", "movable", "unit_of"]

Floats = NDArray[np.float64]
Inputs = Mapping[str, NDArray[Any]]
MOST = 4096
"""Numbers of a row that are moved; images beyond it stay as they are."""


class Movable(NamedTuple):
    """Columns that can be moved, each with the places of its numbers in a point, and all else that a point needs."""

    names: list[str]
    members: list[slice]
    unit: Floats
    low: Floats
    high: Floats
    whole: NDArray[np.bool_]

    def points(self, inputs: Inputs) -> Floats:
        """Return rows as points, in units of spread; what is missing is no number."""
        rows = len(inputs[self.names[0]])
        return np.hstack([inputs[name].astype(np.float64).reshape(rows, -1) for name in self.names]) / self.unit

    def inputs(self, row: Inputs, points: Floats) -> dict[str, NDArray[Any]]:
        """Return inputs of these points, whole where they are and within what was seen; all else is the row's."""
        held = np.clip(points, self.low, self.high) * self.unit
        held = np.where(self.whole, np.round(held), held)
        found = {name: np.repeat(values, len(points), axis=0) for name, values in row.items()}
        for name, members in zip(self.names, self.members, strict=True):
            found[name] = held[:, members].astype(found[name].dtype).reshape(found[name].shape)
        return found


def movable(columns: Sequence[Column], inputs: Inputs) -> Movable:
    """Return the columns of numbers that vary, and the images; raises `UsageError` where there is neither.

    An image's spread is how far images lie from their mean, all pixels taken together.
    """
    names: list[str] = []
    members: list[slice] = []
    parts: list[tuple[Floats, Floats, Floats, NDArray[np.bool_]]] = []
    for column in columns:
        wanted = (column.dtype == "float64" and not column.shape) or column.kind == "image"
        start = members[-1].stop if members else 0
        end = start + int(np.prod(column.shape))
        values = inputs[column.name]
        if (
            not wanted
            or end > MOST
            or not np.isfinite(numbers := values.astype(np.float64).reshape(len(values), -1)).any()
        ):
            continue
        unit = float(np.sqrt(numbers.var(0).sum())) if column.shape else unit_of(numbers[:, 0])
        if unit > 0:
            names.append(column.name)
            members.append(slice(start, end))
            parts.append(_ends(numbers, unit, image=bool(column.shape)))
    if not names:
        raise UsageError("no column holds numbers that vary, or images: there is nothing that could be moved a little")
    return Movable(names, members, *(np.concatenate([part[n] for part in parts]) for n in range(4)))


def unit_of(values: NDArray[Any]) -> float:
    """Return a number's spread; of one that is nearly always the same, which may move too, its standard deviation."""
    numbers = values.astype(np.float64)
    there = numbers[np.isfinite(numbers)]
    return (spread_of(there) or float(there.std())) if len(there) else 0.0


def _ends(numbers: Floats, unit: float, image: bool) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return, for each number of a column: its unit, the least and the most of it in that unit, whether it is whole."""
    there = numbers[np.isfinite(numbers)]
    low, high = (0.0, 255.0) if image else (there.min(), there.max())
    whole = image or bool((there == np.round(there)).all())
    width = numbers.shape[1]
    return np.full(width, unit), np.full(width, low / unit), np.full(width, high / unit), np.full(width, whole)
