"""Drift of all columns together: the maximum mean discrepancy, by random Fourier features (Rahimi and Recht 2007)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.monitoring.detector import MeanDetector, Rules
from everloop.monitoring.profile import Profile
from everloop.monitoring.window import Window
from everloop.types import Column

__all__ = ["Embedding", "JointDrift"]

Floats = NDArray[np.float64]
WIDTH, FAR = 32, 4.0


class Embedding:
    """Rows as points: numbers in deviations, categories as codes; then as random features of a Gaussian kernel."""

    def __init__(self, columns: Sequence[Column], values: Mapping[str, Any]) -> None:
        self.columns = [c for c in columns if c.kind in ("numeric", "categorical") and not c.shape]
        self._scales = {c.name: _scale(_numbers(c, values[c.name])) for c in self.columns}
        rng = np.random.default_rng(0)
        width = max(1, len(self.columns))
        self._weights = rng.normal(size=(len(self.columns), WIDTH)) / np.sqrt(2.0 * width)
        self._phases = rng.uniform(0, 2 * np.pi, WIDTH)

    def points(self, values: Mapping[str, Any]) -> Floats:
        """Return (rows, columns), each about between -4 and 4; what is missing is usual."""
        found = [
            (_numbers(c, values[c.name]) - self._scales[c.name][0]) / self._scales[c.name][1] for c in self.columns
        ]
        return np.clip(np.nan_to_num(np.stack(found, axis=1)), -FAR, FAR)

    def features(self, points: Floats) -> Floats:
        """Return the random features of points, as exact as 32 bits: these have a vectorised cosine."""
        angles = (points @ self._weights + self._phases).astype(np.float32)
        found: Floats = np.cos(angles).astype(np.float64)
        return found


class JointDrift(MeanDetector):
    """`data_drift`: moves too when no column does by itself, but what they do together."""

    smallest = 0.02

    def __init__(self, embedding: Embedding, profile: Profile, rules: Rules) -> None:
        super().__init__("data_drift", profile, rules, "mean")
        self._embedding = embedding

    def measure(self, batch: Window) -> tuple[Floats, float]:
        """Return the sums of the batch's features, and how many rows they are of."""
        if not batch.rows:
            return np.zeros(self.profile.width), 0.0
        return self._embedding.features(self._embedding.points(batch.columns)).sum(0), float(batch.rows)

    def told(self, mean: Floats, expected: Floats) -> tuple[float, dict[str, Any]]:
        """Return how far the window lies from what was expected, and what shows it."""
        distance = float(np.sqrt(2 * ((mean - expected) ** 2).mean()))
        return distance, {"test": "maximum mean discrepancy", "columns": len(self._embedding.columns)}


def _numbers(column: Column, values: Any) -> Floats:
    if column.kind == "numeric" and column.dtype != "bool":
        return np.asarray(values, np.float64)
    codes = {value: _code(value) for value in set(values if isinstance(values, list) else values.tolist())}
    return np.array([codes[v] for v in (values if isinstance(values, list) else values.tolist())])


def _code(value: Any) -> float:
    return zlib.crc32(str(value).encode()) / 2**32 * 3.46 - 1.73


def _scale(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    return (float(known.mean()), float(known.std()) or 1.0) if len(known) else (0.0, 1.0)
