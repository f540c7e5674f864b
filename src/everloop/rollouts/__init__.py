"""How a candidate takes over: shadow pairs, canary exposure, A/B, bandit, expiry; pure state machines."""

from everloop.rollouts.exposure import Exposure
from everloop.rollouts.rollout import (
    ACTIVE,
    Answered,
    Pair,
    RolloutState,
    advance,
    begin,
    compare,
    end,
    gains,
    judged_safe,
    told,
)
from everloop.rollouts.rules import RANDOMISED, RolloutRules, Strategy

__all__ = [
    "ACTIVE",
    "RANDOMISED",
    "Answered",
    "Exposure",
    "Pair",
    "RolloutRules",
    "RolloutState",
    "Strategy",
    "advance",
    "begin",
    "compare",
    "end",
    "gains",
    "judged_safe",
    "told",
]
