"""Which digit a video shows: the mean of its frames, and any classifier of scikit-learn over that."""

from __future__ import annotations

from typing import Literal

from sklearn.ensemble import ExtraTreesClassifier

from everloop.training.flat import Flat


def model(trees: int = 200, frames: Literal["all", "mean", "mean and deviation"] = "mean") -> Flat:
    """Return the estimator to train; pooling the frames is a part of the served graph."""
    return Flat(ExtraTreesClassifier(trees, n_jobs=1, random_state=0), frames)
