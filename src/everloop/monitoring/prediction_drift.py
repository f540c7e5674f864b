"""Drift of the champion's answers: values, or the probabilities of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.monitoring.detector import MeanDetector, Rules
from everloop.monitoring.features import Binned, histogram
from everloop.monitoring.profile import Profile
from everloop.monitoring.window import Window
from everloop.statistics import share_distances

__all__ = ["PredictionDrift"]

Floats = NDArray[np.float64]


class PredictionDrift(MeanDetector):
    """`prediction_drift`: each answer by the quantiles of the reference's answers."""

    smallest = 0.02

    def __init__(self, features: dict[int, Binned], profile: Profile, rules: Rules) -> None:
        super().__init__("prediction_drift", profile, rules)
        self._features = features

    def measure(self, batch: Window) -> tuple[Floats, float]:
        """Return the sums of the batch's features, and how many rows they are of."""
        if batch.answers is None or not len(batch.answers):
            return np.zeros(self.profile.width), 0.0
        known = batch.answers[~np.isnan(batch.answers[:, 0])]
        return np.concatenate([f.sums(known[:, i])[0] for i, f in self._features.items()]), float(len(known))

    def told(self, mean: Floats, expected: Floats) -> tuple[float, dict[str, Any]]:
        """Return how far the window lies from what was expected, and what shows it."""
        at = int(np.abs(mean - expected).argmax())
        for place, feature in self._features.items():  # noqa: B007
            if at < len(feature.edges):
                break
            at -= len(feature.edges)
            mean, expected = mean[len(feature.edges) :], expected[len(feature.edges) :]
        width = len(feature.edges)
        bins, before = histogram(feature, expected[:width])
        now = histogram(feature, mean[:width])[1]
        shown = {"bins": bins, "numeric": True, "reference": before.tolist(), "window": now.tolist()}
        evidence = {"answer": place, "histogram": shown} | share_distances(before, now)
        return float(np.abs(mean[:width] - expected[:width]).max()), evidence
