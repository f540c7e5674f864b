"""The sequential tests keep their stated error rates under continuous looking, autocorrelation included."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from everloop.statistics import block_means, change_evidence, mean_test, t_mixture_log_e

HOURS, PATHS = 30 * 24, 1500


def hourly_differences(rng: np.random.Generator, correlation: float, seasonal: bool) -> NDArray[np.float64]:
    """Loss differences of two equally good models: autocorrelated, louder by day than by night."""
    noise = rng.normal(size=(PATHS, HOURS))
    for hour in range(1, HOURS):
        noise[:, hour] = correlation * noise[:, hour - 1] + math.sqrt(1 - correlation**2) * noise[:, hour]
    if seasonal:
        noise *= 1 + 0.9 * np.sin(2 * np.pi * np.arange(HOURS) / 24)
    return noise


@pytest.mark.parametrize(("correlation", "seasonal"), [(0.0, False), (0.8, False), (0.8, True)])
def test_false_passes_stay_below_their_rate_under_autocorrelation(correlation: float, seasonal: bool) -> None:
    differences = hourly_differences(np.random.default_rng(3), correlation, seasonal)
    days = differences.reshape(PATHS, 30, 24).mean(2)
    outcomes = [mean_test(path, alpha=0.025).outcome for path in days]
    rate = outcomes.count("positive") / PATHS
    print(f"false passes over 30 days, correlation {correlation}, seasonal {seasonal}: {rate:.3f}")
    assert rate <= 0.05


def test_a_clear_gain_is_found_within_a_week() -> None:
    rng = np.random.default_rng(5)
    blocks = [mean_test(rng.normal(3, 1, 14), alpha=0.025).blocks for _ in range(200)]
    assert np.median(blocks) <= 6


@given(st.lists(st.floats(-10, 10).map(lambda v: round(v, 6)), min_size=1, max_size=30), st.floats(0.1, 100))
@settings(max_examples=60)
def test_the_test_knows_no_unit(means: list[float], scale: float) -> None:
    scaled = t_mixture_log_e([m * scale for m in means])
    assert np.allclose(t_mixture_log_e(means), scaled, atol=1e-6)


def test_the_interval_holds_the_mean_exactly_where_the_test_does_not_refute_it() -> None:
    means = np.random.default_rng(0).normal(0.3, 1, 12)
    low, high = mean_test(means, 0.05).interval
    for bound in (low, high):
        assert t_mixture_log_e(means, null=bound)[-1] == pytest.approx(math.log(10), abs=1e-9)


def test_no_block_and_one_block_decide_nothing() -> None:
    assert mean_test([], 0.05).outcome == "inconclusive"
    assert mean_test([5.0], 0.05).interval == (-math.inf, math.inf)


def test_the_change_detector_is_quiet_without_a_change_and_quick_with_one() -> None:
    rng = np.random.default_rng(1)
    baseline = rng.normal(10, 1, 200)
    alarms = [change_evidence(rng.normal(10, 1, 100), baseline) >= 365 for _ in range(300)]
    assert np.mean(alarms) < 100 / 365
    assert change_evidence(rng.normal(13, 1, 5), baseline) >= 365


def test_block_means_leave_out_what_lies_before_and_what_is_not_complete() -> None:
    means = block_means([-5, 1, 2, 11, 25], [9, 1, 3, 5, 7], length=10, start=0)
    assert means.tolist() == [2.0, 5.0, 7.0]
