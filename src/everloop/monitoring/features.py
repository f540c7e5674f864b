"""Columns as features of fixed width: bins of numbers, shares of categories, embeddings of texts and images."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from everloop.types import Column

__all__ = ["Binned", "Counted", "Feature", "Images", "Texts", "Vectors", "feature_of", "histogram"]

Floats = NDArray[np.float64]
BINS, CATEGORIES, WIDTH, GRID = 16, 32, 32, 4


class Feature(Protocol):
    """Turns a column's values into features; `sums` over a batch are what `rows` would add up to."""

    shares: bool
    """Whether each feature is between 0 and 1."""
    test: str

    def rows(self, values: Any) -> Floats:
        """Return (rows, features); a row that is missing is NaN."""

    def sums(self, values: Any) -> tuple[Floats, float]:
        """Return the sums of features, and over how many rows that are there."""


class Binned:
    """A number, by the reference's quantiles: each feature says whether it lies at or below an edge."""

    shares, test = True, "kolmogorov_smirnov"

    def __init__(self, values: Floats) -> None:
        known = values[~np.isnan(values)]
        shares = np.arange(1, BINS) / BINS
        inner = np.unique(np.quantile(known, shares, method="inverted_cdf")) if len(known) else np.zeros(1)
        self.edges = inner[inner < known.max()] if len(known) and len(inner) > 1 else inner

    def rows(self, values: Any) -> Floats:
        """Return (rows, features); a row that is missing is NaN."""
        x = np.asarray(values, np.float64)
        found = (x[:, None] <= self.edges).astype(np.float64)
        found[np.isnan(x)] = np.nan
        return found

    def sums(self, values: Any) -> tuple[Floats, float]:
        """Return the sums of features, and over how many rows that are there."""
        x = np.asarray(values, np.float64)
        place = np.searchsorted(self.edges, x, "left")  # NaN sorts behind all
        counts = np.bincount(place, minlength=len(self.edges) + 1)[: len(self.edges)].astype(np.float64)
        return np.cumsum(counts), float(len(x) - np.count_nonzero(np.isnan(x)))


class Counted:
    """A category: each feature says whether it is that one; the last whether it is another one."""

    shares, test = True, "chi_squared"

    def __init__(self, values: Sequence[Any]) -> None:
        self.names = [name for name, _ in Counter(map(_text, values)).most_common(CATEGORIES)]
        self._place = {name: i for i, name in enumerate(self.names)}

    def rows(self, values: Any) -> Floats:
        """Return (rows, features); a row that is missing is NaN."""
        found = np.zeros((len(values), len(self.names) + 1))
        places = [self._place.get(_text(v), len(self.names)) for v in values]
        found[np.arange(len(places)), places] = 1.0
        return found

    def sums(self, values: Any) -> tuple[Floats, float]:
        """Return the sums of features, and over how many rows that are there."""
        found = np.zeros(len(self.names) + 1)
        for value, count in Counter(values if isinstance(values, list) else values.tolist()).items():
            found[self._place.get(_text(value), len(self.names))] += count
        return found, float(len(values))


class Texts:
    """A text: its character trigrams, hashed with signs into a unit vector (Weinberger et al. 2009)."""

    shares, test = False, "mean embedding of hashed trigrams"

    def rows(self, values: Any) -> Floats:
        """Return (rows, features); a row that is missing is NaN."""
        return np.array([_hashed(_text(value)) for value in values]).reshape(len(values), WIDTH)

    def sums(self, values: Any) -> tuple[Floats, float]:
        """Return the sums of features, and over how many rows that are there."""
        return self.rows(values).sum(0), float(len(values))


class Images:
    """An image, or all frames of a video: means and deviations of brightness in a grid of 4 by 4 parts."""

    shares, test = False, "mean embedding of pooled pixels"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._frames, self._shape = (shape[0], shape[1:]) if len(shape) > 3 else (1, shape)

    def rows(self, values: Any) -> Floats:
        """Return (rows, features); a row that is missing is NaN."""
        x = np.asarray(values, np.float64).reshape(len(values), self._frames, *self._shape)
        x = np.moveaxis(x, 1, -1)
        parts = [
            part
            for band in np.array_split(x, min(GRID, self._shape[0]), axis=1)
            for part in np.array_split(band, min(GRID, self._shape[1]), axis=2)
        ]
        flat = [part.reshape(len(x), -1) for part in parts]
        return np.concatenate([[p.mean(1) for p in flat], [p.std(1) for p in flat]]).T

    def sums(self, values: Any) -> tuple[Floats, float]:
        """Return the sums of features, and over how many rows that are there."""
        return self.rows(values).sum(0), float(len(values))


class Vectors:
    """A vector, such as the hidden layer of a network: itself, or its way along 32 directions drawn from a seed."""

    shares, test = False, "mean of a vector"

    def __init__(self, width: int) -> None:
        drawn = np.random.default_rng(0).normal(size=(width, WIDTH)) / np.sqrt(width)
        self._directions = np.eye(width) if width <= WIDTH else drawn

    def rows(self, values: Any) -> Floats:
        """Return (rows, features); a row that is missing is NaN."""
        found: Floats = np.asarray(values, np.float64).reshape(len(values), -1) @ self._directions
        return found

    def sums(self, values: Any) -> tuple[Floats, float]:
        """Return the sums of features, and over how many rows that are there."""
        return self.rows(values).sum(0), float(len(values))


def feature_of(column: Column, values: Any) -> Feature:
    """Return what a column is looked at by, learnt from the reference's values."""
    shape = column.shape or np.asarray(values).shape[1:]
    if len(shape) == 1:
        return Vectors(shape[0])
    if shape:
        return Images(shape)
    if column.kind == "text":
        return Texts()
    if column.kind == "numeric" and column.dtype in ("float64", "int64"):
        return Binned(np.asarray(values, np.float64))
    return Counted(list(values))


def histogram(feature: Feature, mean: Floats) -> tuple[list[Any], Floats]:
    """Return the bins of a mean of features and the share in each; none for embeddings."""
    if isinstance(feature, Binned):
        return feature.edges.tolist(), np.maximum(0.0, np.diff(mean, prepend=0.0, append=1.0))
    if isinstance(feature, Counted):
        return [*feature.names, "(other)"], mean
    return [], np.zeros(0)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _hashed(text: str) -> Floats:
    found = np.zeros(WIDTH)
    padded = f" {text.lower()} "
    for at in range(max(1, len(padded) - 2)):
        code = zlib.crc32(padded[at : at + 3].encode())
        found[code % WIDTH] += 1.0 if code & 0x8000 else -1.0
    return found / max(1.0, float(np.linalg.norm(found)))
