"""Losses by slice of the rows, and what sensitive groups get: by blocks, of both versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.rollouts.keys import KeyLosses
from everloop.statistics import BlockMeans

__all__ = ["SLICES", "Group", "Slice", "disparities"]

SLICES = 20
"""Slices that are judged at most, the first to be seen; the level of each is that of the check over this number."""
GROUP_ROWS = 10
"""Rows of a group that its mean of one block needs."""


class Slice(msgspec.Struct):
    """The losses of the rows in which one column has one value; by key, where an experiment counts keys."""

    differences: BlockMeans
    champion: BlockMeans
    candidate: BlockMeans
    keys: KeyLosses | None = None

    @classmethod
    def empty(cls, start: float, length: float) -> Slice:
        """Return a slice without rows."""
        differences, champion, candidate = (BlockMeans(start, length) for _ in range(3))
        return cls(differences, champion, candidate)

    def pair(self, time: float, champion: float, candidate: float) -> None:
        """Take both losses of one row."""
        self.differences.add(time, champion - candidate)
        self.champion.add(time, champion)
        self.candidate.add(time, candidate)

    def gains(self, until: float, randomised: bool) -> NDArray[np.float64]:
        """Return champion minus candidate by complete block, or by batch of keys."""
        if self.keys is not None:
            return self.keys.means()
        return self.champion.minus(self.candidate, until) if randomised else self.differences.complete(until)

    def rows(self, until: float, randomised: bool) -> int:
        """Return how many labels lie in complete blocks, or keys that are over, of the version that has fewer."""
        if self.keys is not None:
            return min(self.keys.counts)
        if randomised:
            return min(self.champion.rows(until), self.candidate.rows(until))
        return self.differences.rows(until)

    def mean(self, candidate: bool) -> float | None:
        """Return the mean loss of a version."""
        if self.keys is not None:
            return self.keys.mean(candidate)
        return (self.candidate if candidate else self.champion).mean()


class Group(msgspec.Struct):
    """What the rows of one group got from both versions, measure by measure (losses, or selected and wrong)."""

    champion: list[BlockMeans] = []
    candidate: list[BlockMeans] = []

    def add(self, time: float, candidate: bool, measures: Sequence[float], weight: float, like: BlockMeans) -> None:
        """Take the measures of one row; blocks lie as those of `like` do."""
        side = self.candidate if candidate else self.champion
        while len(side) < len(measures):
            side.append(BlockMeans(like.start, like.length))
        for means, value in zip(side, measures, strict=True):
            means.add(time, value, weight)


def disparities(groups: Mapping[str, Group], measure: int, until: float) -> NDArray[np.float64]:
    """Return, by complete block, by how much groups differ at most: (blocks, 2), of champion and candidate.

    NaN for blocks in which fewer than two groups have rows enough of both versions.
    """
    judged = [g for g in groups.values() if len(g.champion) > measure and len(g.candidate) > measure]
    if not judged:
        return np.empty((0, 2))
    sides = ([g.champion[measure] for g in judged], [g.candidate[measure] for g in judged])
    stacked = _stacked([m.by_block(until, GROUP_ROWS) for side in sides for m in side])
    champion, candidate = stacked[: len(judged)], stacked[len(judged) :]
    both = np.isfinite(champion) & np.isfinite(candidate)
    known = both.sum(0) >= 2
    found = np.full((both.shape[1], 2), np.nan)
    for place, means in enumerate((champion, candidate)):
        highest, lowest = np.where(both, means, -np.inf).max(0), np.where(both, means, np.inf).min(0)
        found[known, place] = highest[known] - lowest[known]
    return found


def _stacked(means: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    stacked = np.full((len(means), max(len(m) for m in means)), np.nan)
    for place, one in enumerate(means):
        stacked[place, : len(one)] = one
    return stacked
