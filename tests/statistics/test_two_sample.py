"""The numpy two-sample tests agree with SciPy's, and are quiet on equal samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from everloop.statistics import chi_squared, jensen_shannon, kolmogorov_smirnov, population_stability


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
def test_kolmogorov_smirnov_agrees_with_scipy(shift: float) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, 400), rng.normal(shift, 1, 300)
    distance, p = kolmogorov_smirnov(a, b)
    exact = stats.ks_2samp(a, b)
    assert distance == pytest.approx(exact.statistic)
    assert p == pytest.approx(exact.pvalue, abs=0.01)


@pytest.mark.parametrize("counts", [((40, 60, 20), (38, 62, 20)), ((40, 60, 20), (10, 60, 50)), ((9, 1), (1, 9))])
def test_chi_squared_agrees_with_scipy(counts: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = ([str(k) for k, n in enumerate(side) for _ in range(n)] for side in counts)
    _, p = chi_squared(a, b)
    assert p == pytest.approx(stats.chi2_contingency(np.array(counts), correction=False).pvalue, rel=1e-6)


def test_distances_are_small_for_equal_samples_and_large_for_moved_ones() -> None:
    rng = np.random.default_rng(4)
    a, same, moved = rng.normal(size=2000), rng.normal(size=2000), rng.normal(2, 1, 2000)
    assert population_stability(a, same) < 0.05 < 0.25 < population_stability(a, moved)
    assert jensen_shannon(a, same) < 0.15 < 0.5 < jensen_shannon(a, moved)


def test_missing_values_and_empty_windows_say_nothing() -> None:
    a, empty = np.array([1.0, np.nan, 2.0]), np.array([np.nan])
    assert kolmogorov_smirnov(a, empty) == (0.0, 1.0)
    assert population_stability(a, empty) == 0.0
    assert chi_squared(["a"], []) == (0.0, 1.0)
