"""When to act: conditions over signals, past retrainings and rollouts; pure functions of what is passed in."""

from everloop.triggers.conditions import TriggerState, budget, cooldown, firing, no_rollout

__all__ = ["TriggerState", "budget", "cooldown", "firing", "no_rollout"]
