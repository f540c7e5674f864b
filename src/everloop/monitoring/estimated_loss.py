"""Loss without labels: what the loss of such rows was out of time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.monitoring.detector import MeanDetector, Rules
from everloop.monitoring.features import Binned
from everloop.monitoring.joint_drift import Embedding
from everloop.monitoring.profile import Profile
from everloop.monitoring.window import Window

__all__ = ["ConfidenceLoss", "DirectLoss", "EstimatedLoss", "LossModel"]

Floats = NDArray[np.float64]


class LossModel:
    """What loss a row is expected to have, from its inputs and its answer."""

    method = ""

    def estimate(self, values: Any, answers: Floats) -> Floats:
        """Return one expected loss a row."""
        raise NotImplementedError


class ConfidenceLoss(LossModel):
    """Classification: the mean loss of out-of-time rows of the same confidence, in bins.

    This is confidence-based performance estimation with a binned calibration: what the model says of itself is not
    believed, but what came of it.
    """

    method = "confidence-based"

    def __init__(self, answers: Floats, losses: Floats) -> None:
        self._table = _Table(answers.max(1), losses)

    def estimate(self, values: Any, answers: Floats) -> Floats:  # noqa: ARG002
        """Return one expected loss a row."""
        return self._table.look(answers.max(1))


class DirectLoss(LossModel):
    """Regression: the loss as a function of inputs and answer, by ridge regression (direct loss estimation).

    It is fitted on the logarithm, since a few large losses say little of the rest, and ranks rows; what loss a rank has
    is the mean of out-of-time rows of like rank, so no row is expected to lose more than such rows did.
    """

    method = "direct loss estimation"

    def __init__(self, embedding: Embedding, values: Any, answers: Floats, losses: Floats) -> None:
        self._embedding, self._floor = embedding, float(np.quantile(losses, 0.1)) + 1e-12
        self._centre, self._scale = float(answers.mean()), float(answers.std()) or 1.0
        features = self._features(values, answers)
        target = np.log(losses + self._floor)
        ridge = np.eye(features.shape[1]) * max(1.0, 0.02 * len(losses))
        ridge[0, 0] = 1e-9
        self._weights = np.linalg.solve(features.T @ features + ridge, features.T @ target)
        self._table = _Table(features @ self._weights, losses)

    def estimate(self, values: Any, answers: Floats) -> Floats:
        """Return one expected loss a row."""
        return self._table.look(self._features(values, answers) @ self._weights)

    def _features(self, values: Any, answers: Floats) -> Floats:
        points = self._embedding.points(values)
        answer = np.clip((answers[:, :1] - self._centre) / self._scale, -6, 6)
        return np.hstack([np.ones((len(points), 1)), answer, answer**2, points, self._embedding.features(points)])


class _Table:
    """The mean loss of the reference's rows by a score, in bins of equal counts, drawn to the mean of all."""

    def __init__(self, scores: Floats, losses: Floats) -> None:
        self._bins = Binned(scores)
        place = np.searchsorted(self._bins.edges, scores, "left")
        counts = np.bincount(place, minlength=len(self._bins.edges) + 1)
        sums = np.bincount(place, losses, len(self._bins.edges) + 1)
        self._losses = (sums + 4 * losses.mean()) / (counts + 4)

    def look(self, scores: Floats) -> Floats:
        """Return one expected loss a score."""
        found: Floats = self._losses[np.searchsorted(self._bins.edges, scores, "left")]
        return found


class EstimatedLoss(MeanDetector):
    """`estimated_loss`: the mean loss that the window's rows are expected to have; fires when it rises."""

    def __init__(self, model: LossModel, profile: Profile, rules: Rules) -> None:
        super().__init__("estimated_loss", profile, rules, "rise")
        self._model = model

    def measure(self, batch: Window) -> tuple[Floats, float]:
        """Return the sums of the batch's features, and how many rows they are of."""
        if batch.answers is None or not len(batch.answers):
            return np.zeros(1), 0.0
        known = ~np.isnan(batch.answers[:, 0])
        found = self._model.estimate(batch.columns, np.nan_to_num(batch.answers))[known]
        return np.array([found.sum()]), float(known.sum())

    def told(self, mean: Floats, expected: Floats) -> tuple[float, dict[str, Any]]:
        """Return how far the window lies from what was expected, and what shows it."""
        told = {"loss": float(mean[0]), "usual": float(expected[0]), "method": self._model.method}
        return float(mean[0] - expected[0]), told
