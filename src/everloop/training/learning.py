"""Whether an estimator can learn at all: its loss falls on rows that it sees, and a few of them it learns by heart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.training.curves import curves_of
from everloop.training.window import EVERYTHING, Part, Problem, Trained

__all__ = ["FEW", "Learned", "by_heart", "learned"]

Floats = NDArray[np.float64]
FEW, TIMES = 8, 100
"""Rows to be learnt by heart, and how often each is shown: more often than any bound on the rows of a leaf."""


class Learned(NamedTuple):
    """Mean loss on the rows of a fit, beside that of the best constant answer; by round where there are rounds."""

    rows: int
    loss: float
    constant: float
    first: float | None = None
    last: float | None = None


def learned(problem: Problem, rows: pd.DataFrame) -> Learned:
    """Return what a fit on `rows` makes of the same rows."""
    estimator = problem.build().fit(rows[list(problem.inputs)], rows[problem.target])
    found = _measured(problem, rows, estimator)
    curves = curves_of(problem, estimator, rows, rows[:0])
    if not curves.training:
        return found
    return found._replace(first=curves.training[0], last=curves.training[-1])


def by_heart(problem: Problem, rows: pd.DataFrame, numbers: bool) -> Learned:
    """Return what a fit on a few rows makes of them.

    They are as many as a plane through all inputs can meet, where these are all `numbers`, and 8 at most.
    """
    few = _few(problem, rows, min(FEW, len(problem.inputs) + 1) if numbers else FEW)
    shown = few.loc[few.index.repeat(TIMES)].reset_index(drop=True)
    estimator = problem.build().fit(shown[list(problem.inputs)], shown[problem.target])
    return _measured(problem, few, estimator)


def _few(problem: Problem, rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return different rows: of two classes by turns, or of values from the least to the largest."""
    plain = [name for name in problem.inputs if not isinstance(rows[name].iloc[0], np.ndarray)]
    rows = rows.drop_duplicates(plain) if len(plain) == len(problem.inputs) else rows
    target = rows[problem.target]
    if problem.task == "regression":
        ranked = rows.iloc[np.argsort(target.to_numpy(), kind="stable")]
        return ranked.iloc[np.unique(np.linspace(0, len(ranked) - 1, count).round().astype(int))]
    usual = target.value_counts().index[:2]
    found = [rows[target == value].iloc[: max(1, count // 2)] for value in usual]
    few: pd.DataFrame = pd.concat(found)
    return few


def _measured(problem: Problem, rows: pd.DataFrame, estimator: object) -> Learned:
    truth = problem.truth(rows)
    answers = Trained(EVERYTHING, (Part(estimator),), problem).answers(rows)
    loss, constant = problem.loss(truth, answers), problem.loss(truth, _constant(problem, truth))
    return Learned(len(rows), float(loss.mean()), float(constant.mean()))


def _constant(problem: Problem, truth: NDArray[np.float64]) -> Floats:
    if problem.task == "regression":
        return np.full(len(truth), truth.mean())
    shares = np.bincount(truth.astype(np.intp), minlength=len(problem.classes)) / len(truth)
    return np.tile(shares, (len(truth), 1))
