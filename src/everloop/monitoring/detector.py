"""What every detector is, and what those share that hold a window's mean against the reference's."""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol, Self, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.monitoring.profile import Profile
from everloop.monitoring.window import Window, season_of
from everloop.statistics import RiseEvidence
from everloop.types import Signal

__all__ = ["Detector", "MeanDetector", "Rules"]

Floats = NDArray[np.float64]
FEWEST = 8  # rows of a window that are judged; with fewer it runs on into the next


@runtime_checkable
class Detector(Protocol):
    """Looks at batches of rows and says something when a window closes: no I/O, no clock."""

    name: str

    def update(self, batch: Window) -> Signal | None:
        """Take a batch; returns a signal when it closes a window that can be judged."""

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs, as JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state` gave."""

    def merge(self, other: Self) -> None:
        """Take what another worker's detector saw of the same open window."""


class Rules(msgspec.Struct, frozen=True):
    """`limit` is the evidence of an alarm; `length` the seconds of a window, 0 for windows of so many rows."""

    limit: float
    length: float = 86_400.0


class MeanDetector:
    """Sums features of rows over a window, and judges their mean against the reference's blocks when it closes."""

    smallest = 0.0
    """A distance that is real but smaller starts nothing."""

    def __init__(
        self, name: str, profile: Profile, rules: Rules, joined: Literal["largest", "mean", "rise"] = "largest"
    ) -> None:
        self.name, self.profile, self.rules, self._joined = name, profile, rules, joined
        self.evidence = RiseEvidence(rules.limit)
        self.evidence.learn(self._value(z) for z in profile.left_out())
        self.sums, self.rows = np.zeros(profile.width), 0.0

    def measure(self, batch: Window) -> tuple[Floats, float]:
        """Return the sums of the batch's features, and how many rows they are of."""
        raise NotImplementedError

    def told(self, mean: Floats, expected: Floats) -> tuple[float, dict[str, Any]]:
        """Return how far the window lies from what was expected, and what shows it."""
        return float(np.abs(mean - expected).max()), {}

    def update(self, batch: Window) -> Signal | None:
        """Add the batch; judge the window when it closes."""
        if batch.rows:
            sums, rows = self.measure(batch)
            self.sums, self.rows = self.sums + sums, self.rows + rows
        if not batch.last or self.rows < FEWEST:
            return None
        mean, season = self.sums / self.rows, season_of(batch.start, self.rules.length)
        expected = self.profile.expected(season)[0]
        value = self.evidence.take(self._value(self.profile.deviations(mean, self.rows, season)))
        distance, evidence = self.told(mean, expected)
        firing = self.evidence.firing and distance >= self.smallest
        common = {"window": True, "rows": int(self.rows), "distance": distance, "season": self.profile.seasonal}
        self.sums, self.rows = np.zeros(self.profile.width), 0.0
        return Signal(self.name, batch.end, value, self.rules.limit, firing, batch.start, batch.end, common | evidence)

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        return {"sums": self.sums.tolist(), "rows": self.rows, "evidence": msgspec.to_builtins(self.evidence)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.sums, self.rows = np.asarray(state["sums"], np.float64), float(state["rows"])
        self.evidence = msgspec.convert(state["evidence"], RiseEvidence)

    def merge(self, other: Self) -> None:
        """Add what another worker saw of the open window."""
        self.sums, self.rows = self.sums + other.sums, self.rows + other.rows

    def _value(self, z: Floats) -> float:
        if self._joined == "rise":
            return math.log(0.5 + float(max(0.0, z.max())))
        size = np.abs(z)
        joined = float(size.max()) if self._joined == "largest" else math.sqrt(float((size * size).mean()))
        return math.log(0.5 + joined)
