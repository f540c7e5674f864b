"""Rows as points, so that what lies close together is alike: each type of column by its own measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from everloop.inference.media import arrays_of
from everloop.types import Column

__all__ = ["embed"]

Floats = NDArray[np.float64]
WORDS, TOPICS, SHAPES, SIDE = 5000, 64, 32, 16
"""Words of a text that count, and into how many numbers they go; numbers of an image, and its pixels a side."""


def embed(rows: pd.DataFrame, columns: Sequence[Column], seed: int = 0) -> Floats:
    """Return a point a row, in which every column weighs the same whatever it holds."""
    parts = [_even(_part(rows[column.name], column, seed)) for column in columns]
    return np.hstack(parts)


def _part(values: pd.Series[Any], column: Column, seed: int) -> Floats:
    if column.prepare is not None:
        return _pixels(values, column, seed)
    if column.kind == "text":
        return _topics(values.astype(str), seed)
    if column.dtype == "string":
        return pd.get_dummies(values.astype(str)).to_numpy(np.float64)
    numbers = values.to_numpy(np.float64)
    known = numbers[~np.isnan(numbers)]
    middle = float(known.mean()) if len(known) else 0.0
    return np.where(np.isnan(numbers), 0.0, numbers - middle)[:, None]


def _topics(texts: pd.Series[str], seed: int) -> Floats:
    """Return texts by the words that stand together in them (latent semantic analysis), each of length one."""
    try:
        words = TfidfVectorizer(max_features=WORDS).fit_transform(texts)
    except ValueError:  # there is no word in any of them
        return np.zeros((len(texts), 1))
    if words.shape[1] <= TOPICS:
        return np.asarray(words.toarray(), np.float64)
    found = TruncatedSVD(TOPICS, random_state=seed).fit_transform(words)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float64)


def _pixels(values: pd.Series[Any], column: Column, seed: int) -> Floats:
    """Return images, or the mean frame of videos, made small and by their main components."""
    small = np.stack([_small(arrays_of(column, [value])[0]) for value in values])
    most = min(SHAPES, *small.shape)
    return np.asarray(PCA(most, random_state=seed).fit_transform(small), np.float64)


def _small(array: NDArray[np.uint8]) -> Floats:
    """Return at most 16 x 16 means of pixels of an image, from 0 to 1."""
    image = array.mean(axis=0) if array.ndim == 4 else array.astype(np.float64)
    for axis in (0, 1):
        edges = np.linspace(0, image.shape[axis], min(SIDE, image.shape[axis]), endpoint=False).astype(int)
        counts = np.diff([*edges, image.shape[axis]])
        sums = np.add.reduceat(image, edges, axis=axis)
        image = sums / (counts[:, None, None] if axis == 0 else counts[None, :, None])
    return np.asarray(image.reshape(-1) / 255.0, np.float64)


def _even(part: Floats) -> Floats:
    """Return a part whose points lie one from their middle, on average."""
    part = part - part.mean(axis=0)
    spread = float(np.sqrt((part**2).sum(axis=1).mean()))
    return part / spread if spread else part
