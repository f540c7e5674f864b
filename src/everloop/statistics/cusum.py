"""The one-sided CUSUM of Page (1954) on standardised blocks, its threshold from the false alarms that are allowed."""

from __future__ import annotations

import math

import msgspec

__all__ = ["Cusum", "cusum_limit"]

SLACK, CLIP = 0.5, 4.0


class Cusum(msgspec.Struct):
    """Sums what blocks lie above `mean` by more than half a deviation; it starts anew after an alarm is answered."""

    mean: float
    deviation: float
    limit: float
    value: float = 0.0

    def take(self, block: float) -> float:
        """Take one block's mean and return the sum."""
        z = (block - self.mean) / (self.deviation or 1e-12)
        self.value = min(2 * self.limit, max(0.0, self.value + max(-CLIP, min(CLIP, z)) - SLACK))
        return self.value


def cusum_limit(run_length: float) -> float:
    """Return the sum that independent normal blocks reach once in `run_length` blocks (Siegmund 1985)."""
    low, high = 0.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        b = 2 * SLACK * (middle + 1.166)
        low, high = (middle, high) if (math.exp(b) - b - 1) / (2 * SLACK**2) < run_length else (low, middle)
    return high
