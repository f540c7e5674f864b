"""One small algebra for whatever can pass, fail or stay inconclusive: gates, triggers, rollouts.

A check is anything callable that takes one evidence object and returns a `Verdict`. Checks join with
`&` (all must pass; one failure fails) and `|` (one pass is enough; fails only when all fail).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, TypeVar

import msgspec

from everloop.types import Json

__all__ = ["Check", "Outcome", "Verdict", "check"]

Outcome = Literal["pass", "fail", "inconclusive"]
Evidence = TypeVar("Evidence")


class Verdict(msgspec.Struct, frozen=True):
    """What a check found: outcome, one sentence of reason, the numbers behind it, the verdicts it is made of."""

    check: str
    outcome: Outcome
    reason: str
    evidence: dict[str, Json] = {}
    parts: tuple[Verdict, ...] = ()

    @property
    def leaves(self) -> tuple[Verdict, ...]:
        """The verdicts that are made of no others."""
        return tuple(leaf for part in self.parts for leaf in part.leaves) or (self,)

    @property
    def passed(self) -> bool:
        return self.outcome == "pass"

    @property
    def failed(self) -> bool:
        return self.outcome == "fail"


class Check(Generic[Evidence]):
    """A named function from evidence to a verdict that joins with `&` and `|`."""

    def __init__(self, name: str, judge: Callable[[Evidence], Verdict], joined: str = "") -> None:
        """`joined` is the word that its parts are joined by, where it has some."""
        self.name, self._judge, self.joined = name, judge, joined

    def __call__(self, evidence: Evidence) -> Verdict:
        return self._judge(evidence)

    def __and__(self, other: Check[Evidence]) -> Check[Evidence]:
        return _join("and", (self, other), decided="fail", otherwise="pass")

    def __or__(self, other: Check[Evidence]) -> Check[Evidence]:
        return _join("or", (self, other), decided="pass", otherwise="fail")


def check(name: str) -> Callable[[Callable[[Evidence], Verdict]], Check[Evidence]]:
    """Make a check of a function."""
    return lambda judge: Check(name, judge)


def _join(word: str, checks: tuple[Check[Evidence], ...], decided: Outcome, otherwise: Outcome) -> Check[Evidence]:
    name = f" {word} ".join(f"({c.name})" if c.joined not in ("", word) else c.name for c in checks)

    def judge(evidence: Evidence) -> Verdict:
        parts = tuple(c(evidence) for c in checks)
        outcomes = {p.outcome for p in parts}
        outcome: Outcome
        if decided in outcomes:
            outcome = decided
        elif "inconclusive" in outcomes:
            outcome = "inconclusive"
        else:
            outcome = otherwise
        telling = [p.reason for p in parts if p.outcome == outcome]
        return Verdict(name, outcome, "; ".join(telling), parts=parts)

    return Check(name, judge, word)
