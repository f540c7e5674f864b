"""A level makes answers right on average."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.statistics import apply_level, fit_level


def test_a_regression_level_is_the_least_squares_factor() -> None:
    answers = np.array([1.0, 2.0, 4.0])
    assert fit_level("regression", 1.5 * answers, answers).tolist() == pytest.approx([1.5])
    assert fit_level("regression", answers, np.zeros(3)).tolist() == [1.0]


def test_a_classification_level_matches_the_shares_and_keeps_probabilities() -> None:
    rng = np.random.default_rng(0)
    answers = rng.dirichlet([2, 1, 1], 500)
    truth = rng.choice(3, 500, p=[0.2, 0.5, 0.3])
    corrected = apply_level(answers, fit_level("classification", truth, answers))
    assert corrected.sum(1) == pytest.approx(np.ones(500))
    assert corrected.mean(0) == pytest.approx(np.bincount(truth) / 500, abs=0.01)
