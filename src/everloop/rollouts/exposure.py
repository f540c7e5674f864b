"""What drawn answers show without labels: who failed, who flagged, who was slow."""

from __future__ import annotations

import math

import msgspec
import numpy as np

__all__ = ["Exposure", "Latency", "Odds"]

RATIOS = (2.0, 4.0, 16.0, 64.0)
"""How many times oftener than is borne the evidence looks for; a mixture of them, each as likely."""
UNITS = 2000
"""Requests or keys that are remembered, so that each counts once; later ones add no evidence."""
ROWS = 50
"""Answers of either version that make a block of latencies."""
BLOCKS = 1000


class Odds(msgspec.Struct):
    """Whether something happens more than `borne` times as often where the candidate answers.

    Given that it happened, the draw says with which chance the candidate was to answer. So it is tested on these draws
    alone: exactly, at any time, whatever the world does (a mixture of likelihood ratios, an e-process by Ville).
    """

    borne: float = 1.0
    champion: int = 0
    candidate: int = 0
    log_ratios: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(RATIOS))
    log_e: float = 0.0
    """The largest evidence so far."""
    units: set[str] = set()

    def add(self, candidate: bool, share: float, unit: str) -> None:
        """Take one event of a request or key whose first draw gave the candidate `share`; the first of it counts."""
        if unit in self.units or len(self.units) >= UNITS:
            return
        self.units.add(unit)
        self.candidate += candidate
        self.champion += not candidate
        usual = _tilted(share, self.borne)
        for place, ratio in enumerate(RATIOS):
            told = _tilted(share, self.borne * ratio)
            self.log_ratios[place] += math.log(told / usual if candidate else (1 - told) / (1 - usual))
        top = max(self.log_ratios)
        mixed = top + math.log(sum(math.exp(one - top) for one in self.log_ratios) / len(RATIOS))
        self.log_e = max(self.log_e, mixed)


class Latency(msgspec.Struct):
    """95th percentiles of champion and candidate, in seconds, by blocks: as many answers of each, at about one time."""

    champion: list[float] = []
    candidate: list[float] = []
    blocks: list[tuple[float, float]] = []

    def add(self, candidate: bool, seconds: float) -> None:
        """Take the latency of one answer."""
        side = self.candidate if candidate else self.champion
        if len(side) < ROWS:
            side.append(seconds)
        if len(self.champion) == len(self.candidate) == ROWS:
            if len(self.blocks) < BLOCKS:
                self.blocks.append((_slow(self.champion), _slow(self.candidate)))
            self.champion, self.candidate = [], []


class Exposure(msgspec.Struct):
    """All that one rollout's drawn answers show; `since` tells it from another rollout of the same candidate."""

    candidate: str = ""
    since: float = 0.0
    champion_requests: int = 0
    candidate_requests: int = 0
    failures: Odds = msgspec.field(default_factory=Odds)
    flags: Odds = msgspec.field(default_factory=lambda: Odds(borne=2.0))
    champion_flagged: int = 0
    candidate_flagged: int = 0
    latency: Latency = msgspec.field(default_factory=Latency)

    def answered(self, candidate: bool, share: float, unit: str, *, seconds: float, flagged: bool) -> None:
        """Take one answer; `unit` is what was drawn: its key, or the request itself."""
        if candidate:
            self.candidate_requests += 1
            self.candidate_flagged += flagged
        else:
            self.champion_requests += 1
            self.champion_flagged += flagged
        self.latency.add(candidate, seconds)
        if flagged:
            self.flags.add(candidate, share, unit)

    def failed(self, candidate: bool, share: float, unit: str) -> None:
        """Take one request that a version failed to answer."""
        self.failures.add(candidate, share, unit)


def _tilted(share: float, ratio: float) -> float:
    """Return the candidate's share of the events where it has `ratio` times as many for each request."""
    share = min(max(share, 1e-6), 1 - 1e-6)
    return share * ratio / (share * ratio + 1 - share)


def _slow(latencies: list[float]) -> float:
    return max(float(np.quantile(latencies, 0.95)), 1e-6)
