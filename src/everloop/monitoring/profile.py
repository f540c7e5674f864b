"""What rows of the reference are like on average, by block and season, and how much the mean of a block varies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Profile"]

Floats = NDArray[np.float64]
SEASONAL = 0.7  # a season is told apart where that takes this share of the blocks' squared deviations, or less
SURE = 2.0  # standard errors by which the reference's own mean may be wrong


class Profile:
    """Block means of a row's features: a block differs by `between` (it is autocorrelated) and by sampling.

    What a window lies away from the expected mean is told in deviations, whatever number of rows it has, so that
    windows of much traffic compare with blocks of little. Twice the standard error of the reference itself is given
    away first: it is the same in every window, and would add up to a false alarm in the long run. One row more or less
    (the last term) is no deviation either, so that what is rare in few rows does not look like much.
    """

    def __init__(self, sums: Floats, counts: Floats, spread: Floats, seasons: NDArray[np.int64]) -> None:
        """`sums` has shape (blocks, features), `spread` holds the variance of each feature over rows."""
        used = counts > 0
        self._sums, self._counts, self._seasons = sums[used], counts[used].astype(np.float64), seasons[used]
        self.width, self._spread = sums.shape[1], np.maximum(spread, 1e-12)
        self.seasonal = False
        self._between = np.zeros(self.width)
        pooled = self._residuals()
        if self._has_seasons():
            self.seasonal = True
            if (self._residuals() ** 2).sum() > SEASONAL * (pooled**2).sum():
                self.seasonal = False
        if len(self._counts) > 1:
            rest, sampled = self._residuals(), self._spread / self._counts[:, None]
            own = np.array([self._spread / n for n in self._others()])
            self._between = np.maximum(0.0, (rest**2 - sampled - own).mean(0))

    @property
    def blocks(self) -> int:
        return len(self._counts)

    def means(self) -> Floats:
        """Return the mean of the first feature by block of the reference."""
        found: Floats = self._sums[:, 0] / self._counts
        return found

    def expected(self, season: int, leave: int = -1) -> tuple[Floats, Floats]:
        """Return the expected mean of a season's window, and its variance as an estimate."""
        chosen = self._group(season, leave)
        counts, total = self._counts[chosen], self._counts[chosen].sum()
        error = self._between * float((counts**2).sum()) / total**2 + self._spread / total
        return self._sums[chosen].sum(0) / total, error

    def deviations(self, mean: Floats, rows: float, season: int, leave: int = -1) -> Floats:
        """Return, by feature, how many deviations a window's mean lies away beyond the reference's own error."""
        expected, error = self.expected(season, leave)
        rest = mean - expected
        beyond = np.maximum(0.0, np.abs(rest) - SURE * np.sqrt(error))
        found: Floats = np.sign(rest) * beyond / np.sqrt(self._between + self._spread / rows + 1 / rows**2 + error)
        return found

    def left_out(self) -> list[Floats]:
        """Return the deviations of each block of the reference from all others: what is usual."""
        if self.blocks < 2:
            return []
        return [
            self.deviations(self._sums[i] / self._counts[i], self._counts[i], int(self._seasons[i]), i)
            for i in range(self.blocks)
            if self._counts[i] >= 8
        ]

    def _has_seasons(self) -> bool:
        _, counts = np.unique(self._seasons, return_counts=True)
        return len(counts) > 1 and int(counts.min()) >= 3

    def _group(self, season: int, leave: int) -> NDArray[np.bool_]:
        chosen = self._seasons == season if self.seasonal else np.ones(self.blocks, bool)
        if not chosen.any():
            chosen = np.ones(self.blocks, bool)
        if leave >= 0:
            chosen[leave] = False
        return chosen

    def _others(self) -> list[float]:
        return [float(self._counts[self._group(int(s), i)].sum()) for i, s in enumerate(self._seasons)]

    def _residuals(self) -> Floats:
        if self.blocks < 2:
            return np.zeros((self.blocks, self.width))
        return np.array(
            [self._sums[i] / self._counts[i] - self.expected(int(self._seasons[i]), i)[0] for i in range(self.blocks)]
        )
