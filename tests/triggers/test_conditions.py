"""Conditions: quiet signals, cooldown, budget and rollouts hold the loop back, each with its sentence."""

from __future__ import annotations

import pytest

from everloop.triggers import TriggerState, budget, cooldown, firing, no_rollout
from everloop.types import Signal

DAY = 86400.0
DRIFT = Signal("realised_loss", 100 * DAY, 500.0, 365.0, True, 0.0, 100 * DAY)
CONDITION = firing("realised_loss") & no_rollout() & cooldown(14 * DAY) & budget(2, 365 * DAY)


def state(**changes: object) -> TriggerState:
    given: dict[str, object] = {"time": 100 * DAY, "signals": {"realised_loss": DRIFT}} | changes
    return TriggerState(**given)  # type: ignore[arg-type]


def test_drift_beyond_its_threshold_acts_and_says_why() -> None:
    verdict = CONDITION(state(retrainings=(80 * DAY,)))
    assert verdict.passed
    assert "realised_loss at 500, over 365" in verdict.reason
    assert "last retraining 20 days ago" in verdict.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"retrainings": (90 * DAY,)}, "cooldown lasts until 1970-04-15T00:00:00Z"),
        ({"retrainings": (10 * DAY, 50 * DAY)}, "all 2 retrainings of 365 days are used"),
        ({"rollout": "r-3"}, "rollout r-3 is being judged"),
        ({"signals": {}}, "no realised_loss signal yet"),
    ],
)
def test_each_brake_holds_and_is_named(changes: dict[str, object], words: str) -> None:
    verdict = CONDITION(state(**changes))
    assert verdict.failed
    assert words in verdict.reason


def test_retrainings_older_than_the_period_do_not_count() -> None:
    assert budget(1, 30 * DAY)(state(retrainings=(10 * DAY,))).passed
