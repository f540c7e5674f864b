"""Two models on the same rows: by how much one loses less, row against row."""

from __future__ import annotations

import msgspec
import numpy as np

from everloop.evaluation.answered import Answered
from everloop.evaluation.intervals import Figure, figures
from everloop.evaluation.metrics import main_metric, score

__all__ = ["Paired", "paired"]


class Paired(msgspec.Struct, frozen=True):
    """A model against a `rival` on `rows` that neither was trained on: `lower_by` is the loss that it saves.

    `metric` and `rival_metric` are the task's main metric, `difference` theirs, drawn together; `won` is the share of
    blocks of time in which it loses less.
    """

    rival: str
    rows: int
    blocks: int
    lower_by: Figure
    name: str
    metric: Figure
    rival_metric: Figure
    difference: Figure
    won: float


def paired(rows: Answered, other: Answered, rival: str) -> Paired:
    """Return the comparison; both hold the same rows in the same order."""
    gain, name = other.losses - rows.losses, main_metric(rows.task)

    def measure(chosen: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[str, float]:
        own = score(rows.task, rows.truth[chosen], rows.answers[chosen])[name]
        theirs = score(rows.task, other.truth[chosen], other.answers[chosen])[name]
        return {"lower_by": float(gain[chosen].mean()), "own": own, "theirs": theirs, "difference": theirs - own}

    found = figures(measure, rows.blocks)
    sums = np.bincount(rows.blocks, gain)
    return Paired(
        rival, len(rows), len(sums), found["lower_by"], name, found["own"], found["theirs"], found["difference"],
        float((sums > 0).mean()),
    )  # fmt: skip
