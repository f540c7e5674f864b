"""How a candidate takes over: shadow pairs, canary exposure, expiry; pure state machines."""

from everloop.rollouts.rollout import Pair, RolloutRules, RolloutState, advance, begin, end

__all__ = ["Pair", "RolloutRules", "RolloutState", "advance", "begin", "end"]
