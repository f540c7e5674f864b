"""All detectors of one model, made from the rows that it was judged on; their false alarms are shared out here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.monitoring.column_drift import ColumnDrift
from everloop.monitoring.detector import Detector, Rules
from everloop.monitoring.estimated_loss import ConfidenceLoss, DirectLoss, EstimatedLoss
from everloop.monitoring.explanation_drift import ExplanationDrift
from everloop.monitoring.features import Binned, Feature, Vectors, feature_of
from everloop.monitoring.freshness import Freshness
from everloop.monitoring.joint_drift import Embedding, JointDrift
from everloop.monitoring.prediction_drift import PredictionDrift
from everloop.monitoring.profile import Profile
from everloop.monitoring.rates import FlagRate, MissingRate, missing
from everloop.monitoring.realised_metric import LossAdwin, LossCusum, RealisedMetric
from everloop.monitoring.reference import Reference, profile_of
from everloop.statistics import Cusum, cusum_limit

__all__ = ["HIDDEN", "Cut", "labelled", "unlabelled"]

Floats = NDArray[np.float64]
HIDDEN = "(hidden layer)"
"""The name under which a window's columns hold the hidden layer."""
MONTH = 30 * 86_400.0
FLAGS = {"outlier": "outliers", "adversarial": "adversarial", "schema": "out_of_range"}


class Cut(msgspec.Struct, frozen=True):
    """How traffic is cut into windows, and how many false alarms a month (30 days) all signals together may give.

    `length` is in seconds, or 0 where windows hold `count` rows: then the reference's rows a second say how many
    windows a month has.
    """

    false_alarms: float = 0.1
    length: float = 86_400.0
    count: int = 0
    stale: float = 86_400.0

    def run_length(self, reference: Reference) -> float:
        """Return how many windows there are to one false alarm that is allowed."""
        length = self.length
        if self.count:
            spanned = float(reference.times[-1] - reference.times[0]) or 1.0
            length = spanned / len(reference.times) * self.count
        return max(2.0, MONTH / length / self.false_alarms)


def unlabelled(reference: Reference, cut: Cut) -> list[Detector]:
    """Return the detectors that need no label: of inputs, answers, guards, explanations, and the estimated loss.

    Each may ring once in as many windows as there are detectors, times the run length: so all of them together ring
    no more often than the settings allow.
    """
    columns, hidden = reference.columns, reference.hidden
    flagged = [name for name in FLAGS if name in reference.flags]
    members = 3 * len(columns) + len(flagged) + 3 + (hidden is not None)
    rules = Rules(members * cut.run_length(reference), 0.0 if cut.count else cut.length)
    features = {c.name: feature_of(c, reference.values[c.name]) for c in columns}
    embedding = Embedding(columns, reference.values)

    def profile(found: Floats, *, shares: bool = True) -> Profile:
        return profile_of(found, reference, cut.length, cut.count, shares=shares)

    def column(name: str, feature: Feature, values: Any) -> ColumnDrift:
        numbers = np.asarray(values, np.float64).reshape(-1, 1) if isinstance(feature, Binned) else None
        means = None if numbers is None or np.isnan(numbers).all() else profile(numbers, shares=False)
        return ColumnDrift(name, feature, profile(feature.rows(values), shares=feature.shares), rules, means)

    found: list[Detector] = [column(name, feature, reference.values[name]) for name, feature in features.items()]
    if hidden is not None:
        found.append(column(HIDDEN, Vectors(hidden.shape[1]), hidden))
    if embedding.columns:
        points = embedding.points(reference.values)
        found.append(JointDrift(embedding, profile(embedding.features(points), shares=False), rules))
    found.append(_prediction_drift(reference, profile, rules))
    for name in features:
        found.append(MissingRate(name, profile(_indicator(missing(reference.values[name]))), rules))
        found.append(ExplanationDrift(name, rules))
    found += [FlagRate(FLAGS[n], n, profile(_indicator(reference.flags[n])), rules) for n in flagged]
    if embedding.columns or reference.task == "classification":
        found.append(_estimated_loss(reference, embedding, profile, rules))
    return [*found, Freshness(cut.stale)]


def labelled(
    reference: Reference, cut: Cut, which: str, metric: Callable[[Floats, Floats], dict[str, float]]
) -> list[Detector]:
    """Return the detectors of windows whose labels are known; `metric` gives `which` among others."""
    answers, blocks = reference.answers, profile_of(reference.losses[:, None], reference, cut.length, cut.count)
    truth_metric = reference.metric if answers.size else 0.0
    means = blocks.means()
    deviation = float(means.std(ddof=1)) if len(means) > 1 else abs(float(means.mean()))
    usual = float(means.mean()) + 2 * deviation / math.sqrt(len(means))  # it may be wrong by so much in every window
    limit = cusum_limit(cut.run_length(reference))
    return [
        RealisedMetric(which, truth_metric, metric),
        LossCusum(Cusum(usual, deviation, limit)),
        LossAdwin(means.tolist()),
    ]


def _prediction_drift(reference: Reference, profile: Callable[..., Profile], rules: Rules) -> PredictionDrift:
    answers = reference.answers
    chosen = range(1, answers.shape[1]) if answers.shape[1] == 2 else range(answers.shape[1])
    features = {i: Binned(answers[:, i]) for i in chosen}
    rows = np.hstack([feature.rows(answers[:, i]) for i, feature in features.items()])
    return PredictionDrift(features, profile(rows), rules)


def _estimated_loss(
    reference: Reference, embedding: Embedding, profile: Callable[..., Profile], rules: Rules
) -> EstimatedLoss:
    model: Any
    if reference.task == "classification":
        model = ConfidenceLoss(reference.answers, reference.losses)
    else:
        model = DirectLoss(embedding, reference.values, reference.answers, reference.losses)
    expected = model.estimate(reference.values, reference.answers)
    return EstimatedLoss(model, profile(expected[:, None], shares=False), rules)


def _indicator(found: NDArray[np.bool_]) -> Floats:
    return found.astype(np.float64)[:, None]
