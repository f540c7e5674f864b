"""Sequential evidence that a statistic of blocks rose, by its ranks alone: false alarms as stated, whatever it is."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = ["RiseEvidence"]

LEVELS, BET, LEARN, LAG, LONGEST, CAP = (0.02, 0.05, 0.2), 0.9, 8, 2, 400, 10.0


class RiseEvidence(msgspec.Struct):
    """A conformal e-detector: to evidence `n` it takes `n` blocks or more on average, while blocks are exchangeable.

    Each value gets its rank's p-value among those before it, and a bet is made that it is small: `LEVELS` are the
    levels bet on, each in a Shiryaev-Roberts sum of its own (conformal test martingales: Vovk, Petej, Nouretdinov,
    Ahlberg, Carlsson and Gammerman 2021; e-detectors: Shin, Ramdas and Rinaldo 2023). A value is learnt two blocks
    later, so that the first ones after a change do not hide the next; while evidence is beyond `limit` none is, so that
    a change that lasts stays visible. Evidence is capped: a change that ended is forgotten in a few blocks.
    """

    limit: float
    known: list[float] = []
    recent: list[float] = []
    detectors: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(LEVELS))

    @property
    def value(self) -> float:
        return sum(self.detectors) / len(self.detectors)

    @property
    def firing(self) -> bool:
        return self.value >= self.limit

    @property
    def mean(self) -> float:
        """The mean of what is known, 0 before anything is."""
        return sum(self.known) / len(self.known) if self.known else 0.0

    def learn(self, values: Iterable[float]) -> None:
        """Take values of the reference: they are judged by nothing."""
        self.known = [*self.known, *values][-LONGEST:]

    def take(self, value: float) -> float:
        """Take the next block's value and return the evidence."""
        if len(self.known) < LEARN:
            self.learn([value])
            return self.value
        p = (1 + sum(known >= value for known in self.known)) / (len(self.known) + 1)
        for place, level in enumerate(LEVELS):
            bet = 1 - BET + (BET / level if p <= level else 0.0)
            self.detectors[place] = min((self.detectors[place] + 1) * bet, CAP * self.limit)
        if not self.firing:
            self.recent = [*self.recent, value]
            if len(self.recent) > LAG:
                self.learn([self.recent[0]])
                self.recent = self.recent[1:]
        return self.value
