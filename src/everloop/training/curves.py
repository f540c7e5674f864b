"""Loss by round of what learns in rounds, on training rows and on the rows after them, from fits made anyway."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.training.team import TIME_INDEX
from everloop.training.window import Problem
from everloop.types import Json

__all__ = ["Curves", "Watched", "curves_of"]

Floats = NDArray[np.float64]
POINTS, ROWS = 50, 2000
_LINKS: dict[str, Callable[[Floats], Floats]] = {
    "identity": lambda raw: raw,
    "exp": np.exp,
    "sigmoid": lambda raw: 1 / (1 + np.exp(-raw)),
    "softmax": lambda raw: (
        np.exp(raw - raw.max(1, keepdims=True)) / np.exp(raw - raw.max(1, keepdims=True)).sum(1)[:, None]
    ),
}


class Curves(msgspec.Struct, frozen=True):
    """How an estimator learned: its class and parameters, and its mean loss after each of `rounds`.

    `rounds` is empty for one that does not learn in rounds. `out_of_time` is empty where no rows follow, or where
    an estimator only keeps its own training loss.
    """

    estimator: str
    parameters: dict[str, Json]
    loss: str
    rounds: list[int] = []
    training: list[float] = []
    out_of_time: list[float] = []


class Watched:
    """Builds estimators as a problem does, and keeps of all fits on plain rows the newest one, the widest of these."""

    def __init__(self, problem: Problem) -> None:
        self._build = problem.build
        self.problem = msgspec.structs.replace(problem, build=lambda: self)
        self.rows = pd.DataFrame()
        self.estimator: Any = None

    def fit(self, rows: pd.DataFrame, target: Any) -> Any:
        """Return a newly built estimator, fitted."""
        estimator = self._build().fit(rows, target)
        if TIME_INDEX not in rows:
            newer = self.estimator is None or rows.index[-1] > self.rows.index[-1]
            if newer or (rows.index[-1] == self.rows.index[-1] and len(rows) > len(self.rows)):
                self.rows, self.estimator = rows, estimator
        return estimator

    def curves(self, table: pd.DataFrame) -> Curves:
        """Return the curves of the kept fit; the rows of `table` after its own are those it has not seen."""
        unseen = table.loc[table.index > self.rows.index[-1]]
        return curves_of(self.problem, self.estimator, table.loc[self.rows.index], unseen)


def curves_of(problem: Problem, estimator: Any, rows: pd.DataFrame, unseen: pd.DataFrame) -> Curves:
    """Return the curves of a fitted estimator on at most 2,000 of the newest `rows` and of the `unseen` ones.

    LightGBM, XGBoost, scikit-learn's boosting, and multilayer perceptrons (their own training loss) learn in rounds;
    of all others there are no curves, only class and parameters.
    """
    before, model = _parts(estimator)
    told = Curves(
        type(model).__name__, _plain(model), "mean squared error" if problem.task == "regression" else "log loss"
    )
    if (own := getattr(model, "loss_curve_", None)) is not None:
        rounds = _points(len(own))
        values = [float(own[r - 1]) for r in rounds]
        return msgspec.structs.replace(told, loss="the estimator's own loss", rounds=rounds, training=values)
    with contextlib.suppress(Exception):  # whatever an unknown estimator does: a training never fails for its picture
        rounds, training = _losses(problem, before, model, rows.iloc[-ROWS:], _points(_count(model)))
        same, out_of_time = _losses(problem, before, model, unseen.iloc[-ROWS:], rounds) if len(unseen) else ([], [])
        told = msgspec.structs.replace(
            told, rounds=rounds, training=training, out_of_time=out_of_time if same == rounds else []
        )
    return told


def _parts(estimator: Any) -> tuple[list[Any], Any]:
    """Return what prepares rows, and the estimator that learns."""
    before: list[Any] = []
    while hasattr(estimator, "steps"):
        before += [step for _, step in estimator.steps[:-1] if step not in (None, "passthrough")]
        estimator = estimator.steps[-1][1]
    return before, estimator


def _plain(model: Any) -> dict[str, Json]:
    found = model.get_params(deep=False)
    plain = {k: v if isinstance(v, str | bool | int | None) or _finite(v) else str(v) for k, v in found.items()}
    return plain | {k: v.__qualname__ for k, v in found.items() if isinstance(v, FunctionType)}  # not where it lies


def _finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _points(count: int) -> list[int]:
    """Return at most 50 rounds, the first and the last among them."""
    return sorted({round(r) for r in np.linspace(1, count, min(count, POINTS))}) if count else []


def _count(model: Any) -> int:
    if hasattr(model, "booster_"):
        return int(model.booster_.current_iteration())
    if hasattr(model, "get_booster"):
        return int(model.get_booster().num_boosted_rounds())
    if hasattr(model, "staged_predict"):
        found = getattr(model, "n_iter_", None) or len(model.estimators_)
        return int(found)
    return 0


def _losses(
    problem: Problem, before: list[Any], model: Any, rows: pd.DataFrame, rounds: list[int]
) -> tuple[list[int], list[float]]:
    """Return the mean losses at `rounds`, as far as they can be told."""
    if not rounds:
        return [], []
    features: Any = rows[list(problem.inputs)]
    for step in before:
        features = step.transform(features)
    truth, found = problem.truth(rows), {}
    for number, answers in _answers(problem, model, features, rounds):
        loss = float(np.mean(problem.loss(truth, answers)))
        if math.isfinite(loss):
            found[number] = loss
    return list(found), list(found.values())


def _answers(problem: Problem, model: Any, features: Any, rounds: list[int]) -> Iterator[tuple[int, Floats]]:
    """Yield each round's answers: values, or probabilities in the order of the problem's classes."""
    if hasattr(model, "booster_"):
        staged = _lightgbm(problem, model, features, rounds)
    elif hasattr(model, "get_booster"):
        ask = model.predict if problem.task == "regression" else model.predict_proba
        staged = ((r, ask(features, iteration_range=(0, r))) for r in rounds)
    else:
        ask = model.staged_predict if problem.task == "regression" else model.staged_predict_proba
        staged = ((r, a) for r, a in enumerate(ask(features), 1) if r in set(rounds))
    place = {value: i for i, value in enumerate(problem.classes)}
    for number, answered in staged:
        if problem.task == "regression":
            yield number, np.asarray(answered, dtype=np.float64).reshape(len(features))
        else:
            found = np.zeros((len(answered), len(place)))
            found[:, [place[c] for c in model.classes_.tolist()]] = answered
            yield number, found


def _lightgbm(problem: Problem, model: Any, features: Any, rounds: list[int]) -> Iterable[tuple[int, Floats]]:
    """Return answers by round at the cost of about one prediction: raw scores add up.

    Nothing where no link that we know turns their sum into the model's own answers.
    """
    booster, total, raws = model.booster_, 0.0, []
    for first, last in zip([0, *rounds[:-1]], rounds, strict=True):
        total = total + booster.predict(features, raw_score=True, start_iteration=first, num_iteration=last - first)
        raws.append(np.asarray(total, dtype=np.float64))
    wanted = np.asarray(booster.predict(features), dtype=np.float64)
    for name, link in _LINKS.items():
        if (name == "softmax") == (wanted.ndim == 2) and np.allclose(link(raws[-1]), wanted, rtol=1e-4, atol=1e-6):
            answers = [link(raw) for raw in raws]
            if problem.task == "classification" and wanted.ndim == 1:
                answers = [np.column_stack([1 - a, a]) for a in answers]
            return zip(rounds, answers, strict=True)
    return ()
