"""What the sequential statistics promise of false alarms is what simulated streams show."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.statistics import Adwin, Cusum, RiseEvidence, cusum_limit, share_distances


def first_alarm(values: np.ndarray, reference: np.ndarray, limit: float) -> int:
    evidence = RiseEvidence(limit)
    evidence.learn(reference.tolist())
    for place, value in enumerate(values.tolist()):
        evidence.take(value)
        if evidence.firing:
            return place
    return len(values)


@pytest.mark.parametrize("draw", ["normal", "exponential", "cauchy", "counts"])
def test_without_a_change_an_alarm_takes_as_many_blocks_as_its_limit_whatever_the_values_are(draw: str) -> None:
    rng = np.random.default_rng(3)

    def sample(size: int) -> np.ndarray:
        if draw == "counts":
            return rng.poisson(0.3, size).astype(np.float64)
        found: np.ndarray = getattr(rng, f"standard_{draw}")(size)
        return found

    waited = [first_alarm(sample(200), sample(40), 50.0) for _ in range(60)]
    assert np.mean(waited) >= 50.0


def test_a_change_is_found_in_three_blocks_stays_visible_and_is_forgotten() -> None:
    rng = np.random.default_rng(4)
    evidence = RiseEvidence(10_000.0)
    evidence.learn(rng.normal(size=60).tolist())
    calm = [evidence.take(v) for v in rng.normal(size=20)]
    assert max(calm) < evidence.limit
    moved = []
    for value in rng.normal(8.0, 1.0, 30).tolist():
        evidence.take(value)
        moved.append(evidence.firing)
    assert moved.index(True) <= 3
    assert all(moved[4:])
    for value in rng.normal(size=5).tolist():
        evidence.take(value)
    assert not evidence.firing


def test_too_small_a_reference_is_learnt_from_the_first_blocks() -> None:
    evidence = RiseEvidence(100.0)
    assert [evidence.take(float(v)) for v in range(8)] == [0.0] * 8
    assert evidence.take(100.0) > 0.0


def test_cusum_rings_about_as_rarely_as_its_limit_says() -> None:
    rng = np.random.default_rng(5)
    waited = []
    for _ in range(150):
        cusum, blocks = Cusum(0.0, 1.0, cusum_limit(60.0)), 0
        while cusum.value < cusum.limit and blocks < 600:
            cusum.take(float(rng.normal()))
            blocks += 1
        waited.append(blocks)
    assert 45 < np.mean(waited) < 90


def test_adwin_cuts_at_a_change_and_not_without_one() -> None:
    rng = np.random.default_rng(6)
    calm, moved = Adwin(), Adwin()
    assert not any(calm.take(float(v)) for v in rng.normal(size=200))
    cuts = [moved.take(float(v)) for v in np.concatenate([rng.normal(size=60), rng.normal(3.0, 1.0, 20)])]
    assert 60 < cuts.index(True) < 75
    assert moved.rise > 2.0
    assert len(moved.values) < 25


def test_share_distances_are_none_between_equals() -> None:
    same = share_distances(np.array([0.2, 0.8]), np.array([0.2, 0.8]))
    assert same == {"psi": pytest.approx(0.0), "jensen_shannon": pytest.approx(0.0)}
    apart = share_distances(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert apart["jensen_shannon"] == pytest.approx(1.0, abs=0.01)
    assert apart["psi"] > 10
