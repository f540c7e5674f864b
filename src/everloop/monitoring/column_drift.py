"""Data drift of one column: its distribution over a window against the reference's, of the same season."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.monitoring.detector import MeanDetector, Rules
from everloop.monitoring.features import Binned, Feature, histogram
from everloop.monitoring.profile import Profile
from everloop.monitoring.window import Window, season_of
from everloop.statistics import share_distances

__all__ = ["ColumnDrift"]

Floats = NDArray[np.float64]


class ColumnDrift(MeanDetector):
    """`data_drift:COLUMN`: Kolmogorov-Smirnov over the reference's quantiles, shares of categories, embeddings."""

    smallest = 0.02

    def __init__(
        self, column: str, feature: Feature, profile: Profile, rules: Rules, means: Profile | None = None
    ) -> None:
        """`means` is the profile of a number itself: what a window's mean is told beside."""
        joined = "largest" if feature.shares else "mean"
        super().__init__(f"data_drift:{column}", profile, rules, joined)  # type: ignore[arg-type]
        self.column, self._feature, self._means = column, feature, means
        if means is not None:
            means.seasonal = profile.seasonal  # the mean of the same blocks
        self._moments = np.zeros(2)

    def measure(self, batch: Window) -> tuple[Floats, float]:
        """Return the sums of the batch's features, and how many rows they are of."""
        values = batch.columns.get(self.column)
        if values is None:
            return np.zeros(self.profile.width), 0.0
        if isinstance(self._feature, Binned):
            known = np.nan_to_num(np.asarray(values, np.float64))
            self._moments = self._moments + np.array([known.sum(), known @ known])
        return self._feature.sums(values)

    def update(self, batch: Window) -> Any:
        """Add the batch; judge the window when it closes."""
        found = super().update(batch)
        if found is None:
            return None
        self._moments = np.zeros(2)
        if self._means is None:
            return found
        usual = self._means.expected(season_of(batch.start, self.rules.length))[0]
        return msgspec.structs.replace(found, evidence=found.evidence | {"usual": float(usual[0])})

    def told(self, mean: Floats, expected: Floats) -> tuple[float, dict[str, Any]]:
        """Return how far the window lies from what was expected, and what shows it."""
        evidence: dict[str, Any] = {"column": self.column, "test": self._feature.test}
        bins, before = histogram(self._feature, expected)
        _, now = histogram(self._feature, mean)
        if bins:
            evidence |= share_distances(before, now)
            evidence["histogram"] = {
                "bins": bins,
                "numeric": isinstance(self._feature, Binned),
                "reference": [round(float(v), 5) for v in before],
                "window": [round(float(v), 5) for v in now],
            }
        if isinstance(self._feature, Binned):
            centre = self._moments[0] / self.rows
            spread = max(0.0, float(self._moments[1] / self.rows - centre**2)) ** 0.5
            evidence |= {"mean": float(centre), "deviation": spread}
            return float(np.abs(mean - expected).max()), evidence
        if bins:
            return float(np.abs(mean - expected).sum() / 2), evidence
        return float(np.linalg.norm(mean - expected)), evidence

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        return super().state() | {"moments": self._moments.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().restore(state)
        self._moments = np.asarray(state["moments"], np.float64)

    def merge(self, other: Any) -> None:
        """Add what another worker saw of the open window."""
        super().merge(other)
        self._moments = self._moments + other._moments
