"""What a project says of its rollouts."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["RANDOMISED", "RolloutRules", "Strategy"]

Strategy = Literal["canary", "shadow", "ab", "bandit", "replace"]
RANDOMISED = ("ab", "bandit")


class RolloutRules(msgspec.Struct, frozen=True):
    """What the project file says of rollouts; `block` is the length, in seconds, of what counts as one look."""

    strategy: Strategy = "canary"
    steps: tuple[float, ...] = (0.1,)
    split: float = 0.5
    alpha: float = 0.05
    minimum_labels: int = 48
    minimum_blocks: int = 3
    max_days: float = 14.0
    block: float = 86400.0
    explore: float = 0.05
    """The least share of either version under `bandit`."""
    by_key: bool = False
    """Requests of one key see one version, so an experiment counts keys, not rows."""
    affected: bool = False
    """The answer changes the label, so that there are no pairs."""
    max_latency_ratio: float | None = None
    """None where time is not real: the latencies of a replay say nothing."""
    max_disparity_increase: float = 0.1
    sensitive: tuple[str, ...] = ()
    slices: tuple[str, ...] | Literal["auto"] = "auto"
