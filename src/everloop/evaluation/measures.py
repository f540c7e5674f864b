"""Figures that a gate may bound beyond the metrics of all rows: each with its interval, and where it was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from everloop.evaluation.answered import Answered
from everloop.evaluation.calibration import calibration, coverage
from everloop.evaluation.explanations import Predict, importances
from everloop.evaluation.fairness import fairness
from everloop.evaluation.intervals import Figure, figures
from everloop.evaluation.metrics import METRICS, score
from everloop.evaluation.robustness import robustness
from everloop.evaluation.slices import slices, told_apart

__all__ = ["ASKING", "MEASURES", "WITHOUT_INTERVAL", "Measured", "measured"]


class Measured(NamedTuple):
    """A figure, and the slice, group or column that it belongs to."""

    figure: Figure
    where: str = ""


def measured(name: str, rows: Answered, predict: Predict | None = None) -> Measured | None:
    """Return a metric or one of `MEASURES` or `ASKING` with its interval; None where these rows do not tell it.

    What asks the model itself needs `predict`.
    """
    if name in ASKING:
        return ASKING[name](rows, predict) if predict else None
    if name not in METRICS:
        return MEASURES[name](rows)
    found = figures(lambda chosen: score(rows.task, rows.truth[chosen], rows.answers[chosen]), rows.blocks).get(name)
    return Measured(found) if found else None


def _worst_slice(rows: Answered) -> Measured | None:
    """The mean loss of the slice that fails most, as a multiple of that of all rows."""
    if not told_apart(rows):
        return None
    found = slices(rows)
    return Measured(found[0].ratio, found[0].name) if found else Measured(Figure(1.0), "no slice differs")


def _calibration_error(rows: Answered) -> Measured | None:
    return Measured(calibration(rows).error)


def _coverage(rows: Answered) -> Measured | None:
    found = coverage(rows)
    return Measured(found.covered) if found else None


def _difference(*names: str) -> Callable[[Answered], Measured | None]:
    """Return what gives the largest difference of these figures between groups of a sensitive column."""

    def measure(rows: Answered) -> Measured | None:
        found = [
            Measured(one.differences[name], f"{name} by {one.column}")
            for one in fairness(rows)
            for name in names
            if name in one.differences
        ]
        return max(found, key=lambda one: one.figure.value, default=None)

    return measure


MEASURES: dict[str, Callable[[Answered], Measured | None]] = {
    "worst_slice": _worst_slice,
    "calibration_error": _calibration_error,
    "coverage": _coverage,
    "selection_difference": _difference("selection rate"),
    "odds_difference": _difference("true positive rate", "false positive rate"),
    "error_difference": _difference("error rate", "mean absolute error"),
}


def _robustness(rows: Answered, predict: Predict) -> Measured | None:
    """How far noise of a tenth of each number's spread moves answers."""
    found = next(
        (one for one in robustness(rows, predict) if one.by is not None and one.change.startswith("noise")), None
    )
    return Measured(found.by, found.change) if found and found.by else None


def _largest_share(rows: Answered, predict: Predict) -> Measured | None:
    """The share of the column that answers depend on most, in what all columns move."""
    found = importances(rows, predict)
    return Measured(Figure(found[0].share), found[0].column) if found else None


ASKING: dict[str, Callable[[Answered, Predict], Measured | None]] = {
    "robustness": _robustness,
    "largest_share": _largest_share,
}
WITHOUT_INTERVAL = ("largest_share",)
