"""Adaptive windowing (Bifet and Gavaldà 2007) on block means: keep what is alike, drop what is older than a change."""

from __future__ import annotations

import math

import msgspec
import numpy as np

__all__ = ["Adwin"]

SHORTEST = 4


class Adwin(msgspec.Struct):
    """A window of at most `longest` values that shrinks when two parts of it differ beyond chance.

    Few blocks are exact at every split, so the exponential histogram of the paper is not needed. `rise` is by how much
    the newer part lay above the older at the newest cut, 0 before there was one.
    """

    delta: float = 0.002
    longest: int = 400
    values: list[float] = []
    rise: float = 0.0
    cuts: int = 0

    def take(self, value: float) -> bool:
        """Take one value and return whether the window was cut."""
        self.values = [*self.values[-self.longest + 1 :], value]
        cut = False
        while (place := self._split()) is not None:
            older, newer = self.values[:place], self.values[place:]
            self.rise = sum(newer) / len(newer) - sum(older) / len(older)
            self.values, cut = newer, True
            self.cuts += 1
        return cut

    def _split(self) -> int | None:
        x = np.asarray(self.values)
        n = len(x)
        if n < 2 * SHORTEST:
            return None
        older = np.arange(SHORTEST, n - SHORTEST + 1)
        sums = np.cumsum(x)
        gap = np.abs(sums[older - 1] / older - (sums[-1] - sums[older - 1]) / (n - older))
        size = 1 / (1 / older + 1 / (n - older))
        sure = math.log(2 * math.log(n) / self.delta)
        scale = float(np.ptp(x)) or 1.0
        room = np.sqrt(2 / size * x.var() * sure) + 2 / (3 * size) * sure * scale / 4
        beyond = np.flatnonzero(gap > room)
        return int(older[beyond[np.argmax((gap - room)[beyond])]]) if len(beyond) else None
