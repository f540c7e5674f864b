"""An experiment counted by keys: a customer's rows are alike, and a draw was made for the customer, not for the row."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["KeyLosses"]

BATCH, SIDE = 16, 5
"""Keys that make one observation of the test: at least so many, and so many of either version to be expected."""
KEYS = 20_000
"""Keys that are taken at most: by then the test has all that it needs."""


class _Open(msgspec.Struct, array_like=True):
    first: float
    candidate: bool
    propensity: float
    total: float = 0.0
    rows: int = 0


class KeyLosses(msgspec.Struct):
    """A key counts once: its mean loss in the `window` seconds that begin with its first row, on that row's side.

    Keys that came one after the other make a batch, and the difference of its sides is one observation: the level of
    the world is the same for both, and no key is in two of them.
    """

    window: float
    waiting: dict[str, _Open] = {}
    known: set[str] = set()
    batch: list[tuple[bool, float, float]] = []
    """Candidate or champion, mean loss, weight."""
    gains: list[float] = []
    """Champion minus candidate, one a batch."""
    counts: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    totals: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])
    """Of champion and candidate: keys whose window is over, and the sum of their mean losses."""

    def add(self, key: str, time: float, candidate: bool, loss: float, propensity: float) -> bool:
        """Take one row; returns whether its key is a new one."""
        new = key not in self.known and len(self.known) < KEYS
        if new:
            self.known.add(key)
            self.waiting[key] = _Open(time, candidate, propensity)
        found = self.waiting.get(key)
        if found is not None and found.candidate == candidate and time < found.first + self.window:
            found.total += loss
            found.rows += 1
        return new

    def complete(self, until: float) -> None:
        """Count the keys whose window has ended by `until`, in the order in which they were first seen."""
        ready = sorted((k.first, name) for name, k in self.waiting.items() if k.first + self.window <= until)
        for _, name in ready:
            self._count(self.waiting.pop(name))

    @property
    def keys(self) -> int:
        """How many keys were counted."""
        return sum(self.counts)

    def means(self) -> NDArray[np.float64]:
        """Return what is tested."""
        return np.asarray(self.gains)

    def mean(self, candidate: bool) -> float | None:
        """Return the mean loss of a version's keys."""
        return self.totals[candidate] / self.counts[candidate] if self.counts[candidate] else None

    def _count(self, key: _Open) -> None:
        loss = key.total / key.rows
        self.counts[key.candidate] += 1
        self.totals[key.candidate] += loss
        self.batch.append((key.candidate, loss, 1 / key.propensity))
        share = 1 / self.batch[0][2]
        if len(self.batch) >= max(BATCH, math.ceil(SIDE / max(min(share, 1 - share), 0.01))):
            sides = [[(loss, weight) for side, loss, weight in self.batch if side is one] for one in (False, True)]
            if all(sides):
                champion, candidate = (_mean(side) for side in sides)
                self.gains.append(champion - candidate)
            self.batch = []


def _mean(side: list[tuple[float, float]]) -> float:
    return sum(loss * weight for loss, weight in side) / sum(weight for _, weight in side)
