"""Whether a model treats groups of people alike: fairlearn's figures by group, and how far groups lie apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.errors import UsageError
from everloop.evaluation.answered import Answered
from everloop.evaluation.intervals import Figure, figures

__all__ = ["Fairness", "Group", "fairness", "groups_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEWEST, DISTINCT = 30, 10
"""Rows of a group that is compared; numbers of which there are more are taken by quarters."""


class Group(msgspec.Struct, frozen=True):
    """The rows that share a value of a sensitive column, with their figures by name."""

    name: str
    rows: int
    figures: dict[str, float]


class Fairness(msgspec.Struct, frozen=True):
    """Groups of one sensitive column, and the largest difference between any two of them, by figure.

    Groups of fewer than 30 rows are `left_out`. Of classes the figures are the rate at which the last class is
    selected, the rate of errors and, of two, true and false positives; else mean and mean absolute error.
    """

    column: str
    groups: list[Group]
    differences: dict[str, Figure]
    left_out: list[str]


def fairness(rows: Answered) -> list[Fairness]:
    """Return the fairness of each sensitive column that is an input of the model and has two groups or more."""
    present = [name for name in rows.sensitive if name in rows.inputs]
    found = [_fairness(rows, name) for name in present]
    return [one for one in found if one is not None]


def groups_of(values: NDArray[Any]) -> NDArray[np.object_]:
    """Return the group of each row: its value, or the quarter of many numbers that it lies in."""
    if values.dtype.kind not in "iuf":
        return np.asarray([str(value) or "(empty)" for value in values.tolist()], dtype=object)
    numbers = values.astype(np.float64)
    there = numbers[~np.isnan(numbers)]
    if len(np.unique(there)) <= DISTINCT:
        named = np.asarray([f"{value:.6g}" for value in numbers.tolist()], dtype=object)
    else:
        edges = np.unique(np.quantile(there, [0.25, 0.5, 0.75]))
        ends = [there.min(), *edges, there.max()]
        names = np.asarray([f"{a:.6g} to {b:.6g}" for a, b in pairwise(ends)], dtype=object)
        named = names[np.searchsorted(edges, numbers, side="left").clip(max=len(names) - 1)]
    return np.where(np.isnan(numbers), "missing", named).astype(object)


def _fairness(rows: Answered, column: str) -> Fairness | None:
    groups = groups_of(rows.inputs[column]).astype(str)
    names, counts = np.unique(groups, return_counts=True)
    kept = names[counts >= FEWEST]
    if len(kept) < 2:
        return None
    compared = np.flatnonzero(np.isin(groups, kept))
    rows, groups = rows.take(compared), groups[compared]
    table, differences = _by_fairlearn(rows, groups)
    drawn = figures(_differences(rows, np.searchsorted(kept, groups)), rows.blocks)
    ordered = sorted(kept.tolist(), key=_place)
    return Fairness(
        column,
        [Group(name, int((groups == name).sum()), table[name]) for name in ordered],
        {name: msgspec.structs.replace(drawn[name], value=value) for name, value in differences.items()},
        [str(name) for name in names[counts < FEWEST]],
    )


def _place(name: str) -> tuple[float, str]:
    """Return what groups are ordered by: their number, else their name."""
    try:
        return (float(name.split(" to ")[0]), "")
    except ValueError:
        return (np.inf, name)


def _by_fairlearn(rows: Answered, groups: NDArray[np.str_]) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Return each figure of each group, and the largest difference of each figure between two groups."""
    try:
        from fairlearn.metrics import MetricFrame
    except ModuleNotFoundError:
        told = "[deployment] sensitive names columns; their fairness needs fairlearn: pip install 'everloop[fairness]'"
        raise UsageError(told) from None
    said = rows.answers if rows.task == "regression" else rows.answers.argmax(1)
    frame = MetricFrame(metrics=_metrics(rows), y_true=rows.truth, y_pred=said, sensitive_features=groups)
    table: Mapping[str, Mapping[str, float]] = frame.by_group.to_dict("index")
    found = {str(group): {name: float(value) for name, value in row.items()} for group, row in table.items()}
    return found, {str(name): float(value) for name, value in frame.difference().items()}


def _metrics(rows: Answered) -> dict[str, Callable[..., float]]:
    from fairlearn import metrics
    from sklearn.metrics import mean_absolute_error, zero_one_loss

    if rows.task == "regression":
        return {"mean error": lambda y, said: float(np.mean(said - y)), "mean absolute error": mean_absolute_error}
    last = len(rows.classes) - 1
    found = {"selection rate": partial(metrics.selection_rate, pos_label=last), "error rate": zero_one_loss}
    if last == 1:
        found |= {"true positive rate": partial(metrics.true_positive_rate, pos_label=1)}
        found |= {"false positive rate": partial(metrics.false_positive_rate, pos_label=1)}
    return found


def _differences(rows: Answered, place: NDArray[np.intp]) -> Callable[[Ints], dict[str, float]]:
    """Return what gives the same differences of some rows, fast enough to be drawn hundreds of times."""
    parts = _numerators(rows)

    def measure(chosen: Ints) -> dict[str, float]:
        found = {}
        for name, (above, below) in parts.items():
            sums, counts = (np.bincount(place[chosen], one[chosen]) for one in (above, below))
            rates = sums[counts > 0] / counts[counts > 0]
            found[name] = float(np.ptp(rates)) if len(rates) else float("nan")
        return found

    return measure


def _numerators(rows: Answered) -> dict[str, tuple[Floats, Floats]]:
    """Return, by figure, what is summed a row and what it is divided by."""
    every = np.ones(len(rows))
    if rows.task == "regression":
        off = rows.answers - rows.truth
        return {"mean error": (off, every), "mean absolute error": (np.abs(off), every)}
    said, last = rows.answers.argmax(1), len(rows.classes) - 1
    selected, true = (said == last).astype(np.float64), (rows.truth == last).astype(np.float64)
    found = {"selection rate": (selected, every), "error rate": ((said != rows.truth).astype(np.float64), every)}
    if last == 1:
        found |= {"true positive rate": (selected * true, true)}
        found |= {"false positive rate": (selected * (1 - true), 1 - true)}
    return found
