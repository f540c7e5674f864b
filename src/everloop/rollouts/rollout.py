"""How a candidate takes over: a pure state machine over losses, exposure and time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from everloop.checks import Outcome, Verdict
from everloop.statistics import BlockMeans, MeanTest, mean_test
from everloop.types import show_time

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

Strategy = Literal["canary", "shadow", "ab", "bandit", "replace"]
Status = Literal["shadow", "canary", "ab", "bandit", "promoted", "rolled_back", "expired"]
ACTIVE: tuple[Status, ...] = ("shadow", "canary", "ab", "bandit")
RANDOMISED: tuple[Status, ...] = ("ab", "bandit")
MISMATCH = 3.5
"""Standard errors of the candidate's share of the answers beyond which an experiment is not trusted (1 in 2,000)."""


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


class Pair(msgspec.Struct, frozen=True):
    """The losses of champion and candidate on one request, in prediction-time order."""

    time: float
    champion: float
    candidate: float


class Answered(msgspec.Struct, frozen=True):
    """The loss of the version that a draw let answer, and the `propensity` with which it was drawn.

    `alone`: the draw was this request's own, not that of its key.
    """

    time: float
    candidate: bool
    loss: float
    propensity: float
    alone: bool = True


class RolloutState(msgspec.Struct):
    """All that a restart needs; `share` is the traffic the candidate answers."""

    champion: str
    candidate: str
    started: float
    status: Status
    share: float
    differences: BlockMeans
    champion_losses: BlockMeans
    candidate_losses: BlockMeans
    pairs: int = 0
    labelled_until: float = 0.0
    verdict: Verdict | None = None
    surplus: float = 0.0
    """By how many answers the candidate has more than the draws let expect, and the variance of that number."""
    surplus_variance: float = 0.0

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def randomised(self) -> bool:
        """Whether it is judged on what each version itself answered, instead of on pairs."""
        return self.status in RANDOMISED

    @property
    def labels(self) -> int:
        """How many labels its verdict rests on so far: pairs, or rows of both versions."""
        if self.randomised:
            return sum(losses.rows(self.labelled_until) for losses in (self.champion_losses, self.candidate_losses))
        return self.differences.rows(self.labelled_until)


def begin(champion: str, candidate: str, started: float, rules: RolloutRules) -> RolloutState:
    """Return the state of a rollout that starts at `started`; `replace` promotes at once."""
    differences, old, new = (BlockMeans(started, rules.block) for _ in range(3))
    state = RolloutState(champion, candidate, started, "shadow", 0.0, differences, old, new)
    if rules.strategy == "replace":
        reason = "strategy replace: promoted without a comparison"
        return end(state, "promoted", Verdict("rollout", "pass", reason))
    state.status = rules.strategy
    state.share = {"canary": rules.steps[0], "shadow": 0.0}.get(rules.strategy, rules.split)
    return state


def advance(
    state: RolloutState, observed: Sequence[Pair | Answered], labelled_until: float, now: float, rules: RolloutRules
) -> RolloutState:
    """Take new losses and judge: pass promotes, fail rolls back, `max_days` without a verdict expires.

    Only complete blocks of event time count, so looking more often adds no chance of a false verdict.
    """
    for one in observed:
        if one.time >= state.started:
            _take(state, one)
    state.labelled_until = max(state.labelled_until, labelled_until)
    test, before = compare(state, rules), state.status
    if mismatch := _mismatch(state):
        test = msgspec.structs.replace(test, outcome="inconclusive")
    enough = state.labels >= rules.minimum_labels
    if test.outcome == "positive" and enough:
        return end(state, "promoted", _verdict(state, "pass", test, "lower", before))
    if test.outcome == "negative" and enough:
        return end(state, "rolled_back", _verdict(state, "fail", test, "higher", before))
    if now - state.started >= rules.max_days * 86400.0:
        return end(state, "expired", _verdict(state, "inconclusive", test, mismatch or "losses not told apart", before))
    _expose(state, test, rules)
    return state


def compare(state: RolloutState, rules: RolloutRules) -> MeanTest:
    """Return what the losses say so far: the mean of champion minus candidate over complete blocks."""
    until = state.labelled_until
    differences = (
        state.champion_losses.minus(state.candidate_losses, until)
        if state.randomised
        else state.differences.complete(until)
    )
    return mean_test(differences, rules.alpha / 2, rules.minimum_blocks)


def _take(state: RolloutState, seen: Pair | Answered) -> None:
    if isinstance(seen, Pair):
        state.pairs += 1
        state.differences.add(seen.time, seen.champion - seen.candidate)
        state.champion_losses.add(seen.time, seen.champion)
        state.candidate_losses.add(seen.time, seen.candidate)
        return
    losses = state.candidate_losses if seen.candidate else state.champion_losses
    losses.add(seen.time, seen.loss, 1 / seen.propensity)
    if seen.alone:
        share = seen.propensity if seen.candidate else 1 - seen.propensity
        state.surplus += seen.candidate - share
        state.surplus_variance += share * (1 - share)


def _mismatch(state: RolloutState) -> str | None:
    """Say that labelled answers are not split as the draws were: lost labels or a broken router, so no verdict."""
    if state.surplus_variance < 25:
        return None
    errors = state.surplus / math.sqrt(state.surplus_variance)
    if abs(errors) < MISMATCH:
        return None
    return f"the candidate has {state.surplus:+.0f} labelled answers against its share ({errors:+.1f} standard errors)"


def _expose(state: RolloutState, test: MeanTest, rules: RolloutRules) -> None:
    """Set what the candidate answers from now on.

    A canary goes up one step for each complete block in which it did not look worse. A bandit gets the probability
    that its loss is the lower one: Thompson sampling (1933), its posterior renewed whenever labels are judged.
    """
    if state.status == "canary" and test.mean >= 0:
        state.share = rules.steps[min(test.blocks, len(rules.steps) - 1)]
    if state.status == "bandit" and test.blocks >= rules.minimum_blocks:
        better = 0.5 * math.erfc(-test.mean / (max(test.error, 1e-12) * math.sqrt(2)))
        state.share = round(min(max(better, rules.explore), 1 - rules.explore), 2)


def _verdict(state: RolloutState, outcome: Outcome, test: MeanTest, word: str, before: Status) -> Verdict:
    labels = state.labels
    evidence = {"strategy": before, **told(state, test)}
    if outcome == "inconclusive":
        return Verdict("rollout", outcome, f"{word} on {_on(before, labels, test)}; the champion stays", evidence)
    return Verdict("rollout", outcome, f"loss {word} by {abs(test.mean):.4g} on {_on(before, labels, test)}", evidence)


def _on(strategy: Status, labels: int, test: MeanTest) -> str:
    return (
        f"{labels} {'labels of drawn answers' if strategy in RANDOMISED else 'paired labels'} in {test.blocks} blocks"
    )


def told(state: RolloutState, test: MeanTest) -> dict[str, object]:
    """Return what is known so far, as it is stored and shown."""
    low, high = test.interval
    return {
        "pairs" if not state.randomised else "labels": state.labels,
        "blocks": test.blocks,
        "champion_loss": state.champion_losses.mean(),
        "candidate_loss": state.candidate_losses.mean(),
        "difference": test.mean,
        "interval": [low, high] if test.blocks > 1 and low > float("-inf") else None,
        "log_e": test.log_e,
        "labelled_until": show_time(state.labelled_until) if state.labelled_until > 0 else None,
    }


def end(state: RolloutState, status: Status, verdict: Verdict) -> RolloutState:
    """End a rollout by a verdict: its own, or a person's."""
    state.status, state.verdict, state.share = status, verdict, 0.0
    return state
