"""The stated false-alarm rate, 0.1 a month of all signals together, holds in simulated traffic without a change."""

from __future__ import annotations

import numpy as np
import pytest
from tests.monitoring.worlds import NUMBERS, numbers, reference, window

from everloop.monitoring import Cut, unlabelled


def alarms(seed: int, days: int, rho: float, per_day: int = 24) -> int:
    """Return how often any signal of a model over twelve numbers begins to fire."""
    rng = np.random.default_rng(seed)
    fields = numbers(rng, 56 + days, rho, per_day)

    def part(rows: slice) -> dict[str, object]:
        return {
            "columns": {n: v[rows] for n, v in fields["columns"].items()},
            "answers": fields["answers"][rows],
            "flags": {n: v[rows] for n, v in fields["flags"].items()},
        }

    detectors = unlabelled(reference(part(slice(0, 56 * per_day)), NUMBERS, "regression", 56), Cut())
    firing: set[str] = set()
    count = 0
    for day in range(56, 56 + days):
        told = [d.update(window(part(slice(day * per_day, (day + 1) * per_day)), day)) for d in detectors]
        now = {signal.name for signal in told if signal and signal.firing}
        count += len(now - firing)
        firing = now
    return count


def test_a_year_without_a_change_hardly_rings() -> None:
    assert sum(alarms(seed, 180, rho) for seed, rho in ((1, 0.0), (2, 0.9))) <= 3  # twelve months: 1.2 are allowed


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.8, 0.9])
def test_the_rate_over_many_months_is_the_stated_one(rho: float) -> None:
    months = 12 * 12
    count = sum(alarms(100 + seed, 360, rho) for seed in range(12))
    assert count / months <= 0.1
