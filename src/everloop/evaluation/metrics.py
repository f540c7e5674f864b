"""Losses by row and metrics over rows, for regression and classification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.types import Task

__all__ = ["METRICS", "losses", "main_metric", "score"]

Floats = NDArray[np.float64]
CLIP = 1e-6


def losses(task: Task, truth: NDArray[Any], answers: Floats) -> Floats:
    """Return one loss a row: the squared error, or the log loss with probabilities clipped at 1e-6.

    Regression: both of shape (rows,). Classification: `truth` holds class indices, `answers` has shape
    (rows, classes).
    """
    if task == "regression":
        error: Floats = (np.asarray(truth, dtype=np.float64) - answers) ** 2
        return error
    index = np.asarray(truth, dtype=np.int64)
    chosen: Floats = answers[np.arange(len(index)), index]
    return -np.log(np.clip(chosen, CLIP, 1.0))


def main_metric(task: Task) -> str:
    """Return the metric that a task's loss belongs to."""
    return "rmse" if task == "regression" else "log_loss"


def score(task: Task, truth: NDArray[Any], answers: Floats) -> dict[str, float]:
    """Return every metric of the task that the rows tell: no AUC of one class, nothing of no rows."""
    if not len(answers):
        return {}
    names = (
        ("rmse", "mae", "r2", "bias") if task == "regression" else ("log_loss", "accuracy", "brier", "f1", "roc_auc")
    )
    found = {name: METRICS[name](truth, answers) for name in names}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _rmse(truth: NDArray[Any], answers: Floats) -> float:
    return float(np.sqrt(np.mean((truth - answers) ** 2)))


def _mae(truth: NDArray[Any], answers: Floats) -> float:
    return float(np.mean(np.abs(truth - answers)))


def _r2(truth: NDArray[Any], answers: Floats) -> float:
    spread = float(np.sum((truth - np.mean(truth)) ** 2))
    return 1.0 - float(np.sum((truth - answers) ** 2)) / spread if spread else float("nan")


def _bias(truth: NDArray[Any], answers: Floats) -> float:
    return float(np.mean(answers - truth))


def _log_loss(truth: NDArray[Any], answers: Floats) -> float:
    return float(losses("classification", truth, answers).mean())


def _accuracy(truth: NDArray[Any], answers: Floats) -> float:
    return float(np.mean(answers.argmax(1) == truth))


def _brier(truth: NDArray[Any], answers: Floats) -> float:
    wanted = np.eye(answers.shape[1])[np.asarray(truth, dtype=np.int64)]
    return float(np.mean(((answers - wanted) ** 2).sum(1)))


def _f1(truth: NDArray[Any], answers: Floats) -> float:
    """The mean of the classes' F1 scores, over the classes that occur."""
    said, index = answers.argmax(1), np.asarray(truth, dtype=np.int64)
    scores = []
    for label in np.union1d(said, index):
        hits = float(np.sum((said == label) & (index == label)))
        scores.append(2 * hits / float(np.sum(said == label) + np.sum(index == label)))
    return float(np.mean(scores))


def _roc_auc(truth: NDArray[Any], answers: Floats) -> float:
    """Two classes only: the probability that a row of the second class is ranked above one of the first."""
    index = np.asarray(truth, dtype=np.int64)
    if answers.shape[1] != 2 or not 0 < index.sum() < len(index):
        return float("nan")
    _, inverse, counts = np.unique(answers[:, 1], return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2.0
    ranks = middle[inverse]
    positive = int(index.sum())
    return float((ranks[index == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(index) - positive)))


METRICS: dict[str, Callable[[NDArray[Any], Floats], float]] = {
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
    "bias": _bias,
    "log_loss": _log_loss,
    "accuracy": _accuracy,
    "brier": _brier,
    "f1": _f1,
    "roc_auc": _roc_auc,
}
