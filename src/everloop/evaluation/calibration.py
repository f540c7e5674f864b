"""Whether answers mean what they say: reliability of probabilities and values, and how far off a value may be."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.evaluation.answered import Answered
from everloop.evaluation.intervals import Figure, figure

__all__ = ["Bin", "Calibration", "Coverage", "calibration", "coverage"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BINS, COVERED = 10, 0.9


class Bin(msgspec.Struct, frozen=True):
    """Rows whose answers are about `said`: what was `true` of them on average, with its interval."""

    said: float
    true: Figure
    rows: int


class Coverage(msgspec.Struct, frozen=True):
    """How far true values lie from answers: `low` and `high` enclose 90 % in the older half of the rows.

    `covered` is the share of the newer half that they enclose (split conformal prediction, Lei et al. 2018).
    """

    low: float
    high: float
    covered: Figure


class Calibration(msgspec.Struct, frozen=True):
    """Reliability by tenths of the answers.

    `error` is the mean distance of both, weighted by rows: of the probability of the second of two classes, of the
    likeliest of more, or of values.
    """

    of: str
    bins: list[Bin]
    error: Figure
    coverage: Coverage | None = None


def calibration(rows: Answered) -> Calibration:
    """Return the reliability of answers, and of values their 90 % range."""
    said, true = _said(rows)
    place = _tenths(said)
    bins = []
    for one in np.unique(place):
        within = np.flatnonzero(place == one)
        bins.append(Bin(float(said[within].mean()), _mean(true[within], rows.blocks[within]), len(within)))
    error = figure(lambda chosen: _error(said[chosen], true[chosen], place[chosen]), rows.blocks)
    return Calibration(_of(rows), bins, error, coverage(rows))


def coverage(rows: Answered) -> Coverage | None:
    """Return the 90 % range of values; None of classes, and of few rows."""
    half = len(rows) // 2
    if rows.task != "regression" or half < BINS:
        return None
    off = rows.truth.astype(np.float64) - rows.answers
    low, high = np.quantile(off[:half], [(1 - COVERED) / 2, (1 + COVERED) / 2])
    within = (off[half:] >= low) & (off[half:] <= high)
    return Coverage(float(low), float(high), _mean(within.astype(np.float64), rows.blocks[half:]))


def _said(rows: Answered) -> tuple[Floats, Floats]:
    if rows.task == "regression":
        return rows.answers, rows.truth.astype(np.float64)
    if len(rows.classes) == 2:
        return rows.answers[:, 1], (rows.truth == 1).astype(np.float64)
    return rows.answers.max(1), (rows.answers.argmax(1) == rows.truth).astype(np.float64)


def _of(rows: Answered) -> str:
    if rows.task == "regression":
        return "value"
    return f"probability of {rows.classes[1]}" if len(rows.classes) == 2 else "probability of the likeliest class"


def _tenths(said: Floats) -> Ints:
    edges = np.unique(np.quantile(said, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, said, side="right").astype(np.int64)


def _error(said: Floats, true: Floats, place: Ints) -> float:
    gaps = np.bincount(place, said - true)
    return float(np.abs(gaps).sum() / len(said))


def _mean(values: Floats, blocks: Ints) -> Figure:
    return figure(lambda chosen: float(values[chosen].mean()), blocks)
