"""A level: the smallest correction of a model's answers that makes them right on average on newer labels.

Regression: one factor, by least squares. Classification: one weight a class, such that the mean
probability of each class equals its share among the labels (a shift of the logits, prior correction).
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["LevelRules", "apply_level", "fit_level", "level_at", "levelled"]

Floats = NDArray[np.float64]


class LevelRules(msgspec.Struct, frozen=True):
    """How a running level follows the newest labels: its memory in blocks of event time, and its bounds."""

    task: Literal["regression", "classification"]
    block: float = 86400.0
    memory: int = 7
    minimum_blocks: int = 3
    bounds: tuple[float, float] = (0.5, 2.0)
    """Of the factor, or of each class's weight against equal weights."""


def level_at(
    rules: LevelRules, times: Floats, truth: NDArray[np.generic], answers: Floats, until: float
) -> Floats | None:
    """Return the level of the rows in the `memory` blocks up to `until` (times ascending), within its bounds.

    None where they lie in fewer than `minimum_blocks` blocks.
    """
    first, last = np.searchsorted(times, [until - rules.memory * rules.block, until], "right")
    blocks = len(np.unique(times[first:last] // rules.block))
    if last - first < 2 * rules.minimum_blocks or blocks < rules.minimum_blocks:
        return None
    level = fit_level(rules.task, truth[first:last], answers[first:last])
    low, high = rules.bounds
    if rules.task == "regression":
        return np.clip(level, low, high)
    inside = np.clip(level * len(level), low, high)
    return np.asarray(inside / inside.sum(), dtype=np.float64)


def levelled(rules: LevelRules, times: Floats, truth: NDArray[np.generic], answers: Floats) -> Floats:
    """Return the answers as a running level would have corrected them: each block by the labels before it."""
    found = answers.copy()
    if not len(times):
        return found
    place = ((times - times[0]) // rules.block).astype(np.int64)
    for block in np.unique(place):
        begin = float(times[0]) + block * rules.block
        level = level_at(rules, times, truth, answers, np.nextafter(begin, -np.inf))
        if level is not None:
            here = place == block
            found[here] = apply_level(answers[here], level)
    return found


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
