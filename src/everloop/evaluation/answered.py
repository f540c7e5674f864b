"""Rows with their true values and a model's answers: what every part of an evaluation looks at."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.evaluation.metrics import losses
from everloop.types import Column, Task

__all__ = ["Answered", "blocks_of", "spread_out"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEWEST = 10
"""Blocks that an interval needs: longer ones are halved until there are so many."""


class Answered:
    """Rows in the order of time: inputs by column, `truth` (values or class indices), `answers`, and times.

    Answers have shape (rows,), or (rows, classes). Rows of one block of time are alike; with `block` 0 each is its own.
    `sensitive` are the columns between whose groups a model may not differ.
    """

    def __init__(
        self,
        task: Task,
        classes: tuple[str | int | bool, ...],
        columns: tuple[Column, ...],
        inputs: dict[str, NDArray[Any]],
        truth: NDArray[Any],
        answers: Floats,
        times: Floats,
        block: float,
        sensitive: tuple[str, ...] = (),
    ) -> None:
        self.task, self.classes, self.columns, self.inputs = task, classes, columns, inputs
        self.truth, self.answers, self.times, self.sensitive = truth, answers, times, sensitive
        self.blocks, self.block = blocks_of(times, block)

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def losses(self) -> Floats:
        """One loss a row."""
        return losses(self.task, self.truth, self.answers)

    @property
    def labels(self) -> NDArray[Any]:
        """The truth as the target holds it: values, or classes."""
        return np.asarray(self.classes)[self.truth] if self.classes else self.truth

    def take(self, rows: NDArray[Any]) -> Answered:
        """Return some of the rows, by place or mask."""
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        return Answered(
            self.task, self.classes, self.columns, inputs, self.truth[rows], self.answers[rows], self.times[rows],
            self.block, self.sensitive,
        )  # fmt: skip


def spread_out(count: int, most: int) -> Ints:
    """Return places of at most so many of `count` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


def blocks_of(times: Floats, length: float) -> tuple[Ints, float]:
    """Return each row's block, counted from 0 without gaps, and the length that was used."""
    if not length or not len(times):
        return np.arange(len(times)), 0.0
    span = float(times[-1] - times[0])
    while length > 60.0 and span / length < FEWEST:
        length /= 2
    _, blocks = np.unique((times - times[0]) // length, return_inverse=True)
    return blocks.astype(np.int64), length
