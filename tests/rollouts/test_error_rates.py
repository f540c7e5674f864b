"""The stated error rates, by simulation: a candidate that is no worse is rolled back as rarely as the docs say."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from tests.rollouts.simulated import (
    Play,
    answering,
    by_key,
    customers,
    failing,
    flagging,
    rolled_back,
    selecting,
    slicing,
)

CHECKS: dict[str, Play] = {
    "errors": failing,
    "guards": flagging,
    "latency": answering,
    "slices": slicing,
    "fairness": selecting,
}
LEVEL = 0.05 / 5  # of each check
WORSE: dict[str, Play] = {
    "errors": partial(failing, worse=4.0),
    "guards": partial(flagging, more=15.0),
    "latency": partial(answering, slower=4.0),
    "slices": partial(slicing, worse=3.0),
    "fairness": partial(selecting, apart=0.5),
}


def bound(rate: float, times: int) -> float:
    """Return how often an event of that rate happens at most, with a chance of 1 in 2,000 to be wrong."""
    return rate * times + 3.3 * math.sqrt(rate * (1 - rate) * times)


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_rolls_back_what_is_worse_and_hardly_ever_what_is_not(check: str) -> None:
    assert rolled_back(CHECKS[check], check, 12) <= bound(LEVEL, 12)
    assert rolled_back(WORSE[check], check, 4, seed=1) == 4


def test_customers_are_counted_not_their_rows() -> None:
    ends = [by_key(np.random.default_rng((2, n))).status for n in range(16)]
    assert ends.count("promoted") <= bound(0.025, 16)
    assert ends.count("rolled_back") <= bound(0.025, 16)
    found = [by_key(np.random.default_rng((3, n)), better=3.0).status for n in range(3)]
    assert found == ["promoted"] * 3


@pytest.mark.parametrize(("check", "play"), [
    ("slices", partial(customers, worse=4.0)), ("fairness", partial(customers, apart=0.6)),
])  # fmt: skip
def test_slices_and_fairness_are_judged_by_key(check: str, play: Play) -> None:
    assert rolled_back(customers, check, 6, seed=6) <= bound(LEVEL, 6)
    assert rolled_back(play, check, 6, seed=7) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("check", ["slices", "fairness"])
def test_the_level_of_checks_by_key(check: str) -> None:
    assert rolled_back(customers, check, 200, seed=8) <= bound(LEVEL, 200)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_the_level_of_each_check(check: str) -> None:
    assert rolled_back(CHECKS[check], check, 400, seed=4) <= bound(LEVEL, 400)


@pytest.mark.slow
def test_the_level_by_key_and_what_rows_would_have_said() -> None:
    ends = [by_key(np.random.default_rng((5, n))).status for n in range(300)]
    assert ends.count("promoted") <= bound(0.025, 300)
    assert ends.count("rolled_back") <= bound(0.025, 300)
    rows = [by_key(np.random.default_rng((5, n)), count=False).status for n in range(100)]
    assert rows.count("promoted") + rows.count("rolled_back") > 10
