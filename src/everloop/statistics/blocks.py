"""Means over blocks of event time: rows of one block are alike, blocks are about independent."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockMeans", "block_means"]


class BlockMeans(msgspec.Struct):
    """Running means of values by blocks of `length` seconds, counted from `start`."""

    start: float
    length: float
    sums: list[float] = []
    counts: list[int] = []

    def add(self, time: float, value: float) -> None:
        """Take one value; what lies before the start is left out."""
        block = int((time - self.start) // self.length)
        if block < 0:
            return
        while len(self.sums) <= block:
            self.sums.append(0.0)
            self.counts.append(0)
        self.sums[block] += value
        self.counts[block] += 1

    def complete(self, until: float) -> NDArray[np.float64]:
        """Return the means of the blocks that end at or before `until`, empty ones left out."""
        blocks = max(0, int((until - self.start) // self.length))
        sums = np.asarray(self.sums[:blocks], dtype=np.float64)
        counts = np.asarray(self.counts[:blocks], dtype=np.float64)
        seen = counts > 0
        means: NDArray[np.float64] = sums[seen] / counts[seen]
        return means

    def rows(self, until: float) -> int:
        """Return how many values lie in complete blocks."""
        return sum(self.counts[: max(0, int((until - self.start) // self.length))])


def block_means(times: Iterable[float], values: Iterable[float], length: float, start: float) -> NDArray[np.float64]:
    """Return the mean of each block of `length` seconds from `start` that holds a value, oldest first."""
    blocks = BlockMeans(start, length)
    last = start
    for time, value in zip(times, values, strict=True):
        blocks.add(float(time), float(value))
        last = max(last, float(time))
    return blocks.complete(last + length)
