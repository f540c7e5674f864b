"""Means over blocks of event time: rows of one block are alike, blocks are about independent."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockMeans", "block_means"]


class BlockMeans(msgspec.Struct):
    """Running weighted means of values by blocks of `length` seconds, counted from `start`."""

    start: float
    length: float
    sums: list[float] = []
    counts: list[int] = []
    weights: list[float] = []

    def __post_init__(self) -> None:
        if len(self.weights) < len(self.sums):  # stored before there were weights
            self.weights = [float(count) for count in self.counts]

    def add(self, time: float, value: float, weight: float = 1.0) -> None:
        """Take one value; what lies before the start is left out."""
        block = int((time - self.start) // self.length)
        if block < 0:
            return
        while len(self.sums) <= block:
            self.sums.append(0.0)
            self.counts.append(0)
            self.weights.append(0.0)
        self.sums[block] += weight * value
        self.counts[block] += 1
        self.weights[block] += weight

    def complete(self, until: float) -> NDArray[np.float64]:
        """Return the means of the blocks that end at or before `until`, empty ones left out."""
        means = self._means(until)
        return means[np.isfinite(means)]

    def minus(self, other: BlockMeans, until: float) -> NDArray[np.float64]:
        """Return the differences of the means of complete blocks in which both hold values."""
        mine, theirs = self._means(until), other._means(until)
        both = min(len(mine), len(theirs))
        differences = mine[:both] - theirs[:both]
        return differences[np.isfinite(differences)]

    def by_block(self, until: float, rows: int = 1) -> NDArray[np.float64]:
        """Return the mean of each complete block, NaN where it holds fewer than `rows` values."""
        means = self._means(until)
        means[np.asarray(self.counts[: len(means)]) < rows] = np.nan
        return means

    def mean(self) -> float | None:
        """Return the mean of all values, None while there is none."""
        return sum(self.sums) / sum(self.weights) if any(self.counts) else None

    def rows(self, until: float) -> int:
        """Return how many values lie in complete blocks."""
        return sum(self.counts[: self._complete(until)])

    def _means(self, until: float) -> NDArray[np.float64]:
        blocks = self._complete(until)
        sums, weights = np.asarray(self.sums[:blocks], np.float64), np.asarray(self.weights[:blocks], np.float64)
        means: NDArray[np.float64] = np.divide(sums, weights, out=np.full(len(sums), np.nan), where=weights > 0)
        return means

    def _complete(self, until: float) -> int:
        return max(0, int((until - self.start) // self.length))


def block_means(times: Iterable[float], values: Iterable[float], length: float, start: float) -> NDArray[np.float64]:
    """Return the mean of each block of `length` seconds from `start` that holds a value, oldest first."""
    blocks = BlockMeans(start, length)
    last = start
    for time, value in zip(times, values, strict=True):
        blocks.add(float(time), float(value))
        last = max(last, float(time))
    return blocks.complete(last + length)
