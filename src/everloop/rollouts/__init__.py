"""How a candidate takes over: shadow pairs, canary exposure, A/B, bandit, expiry; pure state machines."""

from everloop.rollouts.rollout import (
    ACTIVE,
    Answered,
    Pair,
    RolloutRules,
    RolloutState,
    Strategy,
    advance,
    begin,
    compare,
    end,
    told,
)

__all__ = [
    "ACTIVE",
    "Answered",
    "Pair",
    "RolloutRules",
    "RolloutState",
    "Strategy",
    "advance",
    "begin",
    "compare",
    "end",
    "told",
]
