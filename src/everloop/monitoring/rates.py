"""Rates of rows: what a guard flagged, and what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.monitoring.detector import MeanDetector, Rules
from everloop.monitoring.profile import Profile
from everloop.monitoring.window import Window

__all__ = ["FlagRate", "MissingRate", "missing"]

Floats = NDArray[np.float64]


class FlagRate(MeanDetector):
    """`outliers`, `adversarial`, `out_of_range`: the share of the rows that a guard flagged, when it rises."""

    smallest = 0.01

    def __init__(self, name: str, guard: str, profile: Profile, rules: Rules) -> None:
        super().__init__(name, profile, rules, "rise")
        self._guard = guard

    def measure(self, batch: Window) -> tuple[Floats, float]:
        """Return the sums of the batch's features, and how many rows they are of."""
        flagged = batch.flags.get(self._guard)
        return np.array([0.0 if flagged is None else float(np.count_nonzero(flagged))]), float(batch.rows)

    def told(self, mean: Floats, expected: Floats) -> tuple[float, dict[str, Any]]:
        """Return how far the window lies from what was expected, and what shows it."""
        told = {"guard": self._guard, "rate": float(mean[0]), "usual": float(expected[0])}
        return max(0.0, float(mean[0] - expected[0])), told


class MissingRate(MeanDetector):
    """`missing:COLUMN`: the share of the rows without a value, when it rises."""

    smallest = 0.01

    def __init__(self, column: str, profile: Profile, rules: Rules) -> None:
        super().__init__(f"missing:{column}", profile, rules, "rise")
        self.column = column

    def measure(self, batch: Window) -> tuple[Floats, float]:
        """Return the sums of the batch's features, and how many rows they are of."""
        values = batch.columns.get(self.column)
        if values is None:
            return np.zeros(1), 0.0
        return np.array([float(np.count_nonzero(missing(values)))]), float(len(values))

    def told(self, mean: Floats, expected: Floats) -> tuple[float, dict[str, Any]]:
        """Return how far the window lies from what was expected, and what shows it."""
        told = {"column": self.column, "rate": float(mean[0]), "usual": float(expected[0])}
        return max(0.0, float(mean[0] - expected[0])), told


def missing(values: Any) -> NDArray[np.bool_]:
    """Return which values are missing: NaN, none, or an empty text."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        found: NDArray[np.bool_] = np.isnan(values if values.ndim == 1 else values.reshape(len(values), -1).sum(1))
        return found
    if isinstance(values, np.ndarray) and values.dtype.kind in "iub":
        return np.zeros(len(values), bool)
    if isinstance(values, list) and None not in values and "" not in values:
        return np.zeros(len(values), bool)
    return np.array([v is None or v == "" or v != v for v in values], bool)
