"""A level: the smallest correction of a model's answers that makes them right on average on newer labels.

Regression: one factor, by least squares. Classification: one weight a class, such that the mean
probability of each class equals its share among the labels (a shift of the logits, prior correction).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["apply_level", "fit_level"]

Floats = NDArray[np.float64]


def fit_level(task: Literal["regression", "classification"], truth: NDArray[np.generic], answers: Floats) -> Floats:
    """Return the level of `answers` against `truth`.

    Regression: `truth` and `answers` of shape (rows,), the level of shape (1,), between 0.1 and 10.
    Classification: `truth` holds the class's index, `answers` of shape (rows, classes) are
    probabilities, the level has shape (classes,) and sums to one.
    """
    if task == "regression":
        square = float(answers @ answers)
        factor = float(truth.astype(np.float64) @ answers) / square if square > 0 else 1.0
        return np.array([min(10.0, max(0.1, factor))])
    classes = answers.shape[1]
    share = (np.bincount(truth.astype(np.int64), minlength=classes) + 0.5) / (len(truth) + 0.5 * classes)
    level = np.full(classes, 1.0 / classes)
    for _ in range(25):
        level *= share / np.maximum(apply_level(answers, level).mean(0), 1e-12)
        level /= level.sum()
    return level


def apply_level(answers: Floats, level: Floats) -> Floats:
    """Return the corrected answers; probabilities sum to one again."""
    corrected: Floats = answers * level
    if answers.ndim == 2:
        corrected /= np.maximum(corrected.sum(1, keepdims=True), 1e-300)
    return corrected
