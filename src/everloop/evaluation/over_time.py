"""How a model did as time went on: the mean error and loss of each stretch of it."""

from __future__ import annotations

import msgspec
import numpy as np

from everloop.evaluation.answered import Answered
from everloop.evaluation.metrics import main_metric, score

__all__ = ["Period", "over_time"]

MOST, FEWEST = 60, 10


class Period(msgspec.Struct, frozen=True):
    """One stretch of time: its rows, the mean `loss`, the main `metric`, and how far answers are too high (`bias`).

    Of classes `bias` is that of the probability of the second of two; None where there are more.
    """

    start: float
    end: float
    rows: int
    loss: float
    metric: float
    bias: float | None


def over_time(rows: Answered) -> list[Period]:
    """Return at most 60 stretches of whole blocks, oldest first, of ten rows each on average at least."""
    count = int(rows.blocks[-1]) + 1
    place = rows.blocks * min(count, MOST, max(1, len(rows) // FEWEST)) // count
    return [_period(rows, np.flatnonzero(place == one)) for one in np.unique(place)]


def _period(rows: Answered, within: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Period:
    truth, answers = rows.truth[within], rows.answers[within]
    bias = None
    if rows.task == "regression":
        bias = float((answers - truth.astype(np.float64)).mean())
    elif len(rows.classes) == 2:
        bias = float(answers[:, 1].mean() - (truth == 1).mean())
    start, end = float(rows.times[within[0]]), float(rows.times[within[-1]])
    metric = score(rows.task, truth, answers)[main_metric(rows.task)]
    return Period(start, end, len(within), float(rows.losses[within].mean()), metric, bias)
