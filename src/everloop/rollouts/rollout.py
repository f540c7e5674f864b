"""How a candidate takes over: a pure state machine over paired losses, exposure steps and time."""

from __future__ import annotations

from typing import Literal

import msgspec

from everloop.checks import Outcome, Verdict
from everloop.statistics import BlockMeans, MeanTest, mean_test
from everloop.types import show_time

__all__ = ["Pair", "RolloutRules", "RolloutState", "advance", "begin", "end"]

Status = Literal["shadow", "canary", "promoted", "rolled_back", "expired"]


class RolloutRules(msgspec.Struct, frozen=True):
    """What the project file says of rollouts; `block` is the length, in seconds, of what counts as one look."""

    strategy: Literal["canary", "shadow", "replace"] = "canary"
    steps: tuple[float, ...] = (0.1,)
    alpha: float = 0.05
    minimum_labels: int = 48
    minimum_blocks: int = 3
    max_days: float = 14.0
    block: float = 86400.0


class Pair(msgspec.Struct, frozen=True):
    """The losses of champion and candidate on one request, in prediction-time order."""

    time: float
    champion: float
    candidate: float


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

    @property
    def active(self) -> bool:
        return self.status in ("shadow", "canary")


def begin(champion: str, candidate: str, started: float, rules: RolloutRules) -> RolloutState:
    """Return the state of a rollout that starts at `started`; `replace` promotes at once."""
    differences, old, new = (BlockMeans(started, rules.block) for _ in range(3))
    state = RolloutState(champion, candidate, started, "shadow", 0.0, differences, old, new)
    if rules.strategy == "replace":
        reason = "strategy replace: promoted without a comparison"
        return end(state, "promoted", Verdict("rollout", "pass", reason))
    if rules.strategy == "canary":
        state.status, state.share = "canary", rules.steps[0]
    return state


def advance(
    state: RolloutState, pairs: list[Pair], labelled_until: float, now: float, rules: RolloutRules
) -> RolloutState:
    """Take new pairs and judge: pass promotes, fail rolls back, `max_days` without a verdict expires.

    Only complete blocks of event time count, so looking more often adds no chance of a false verdict.
    """
    for pair in pairs:
        if pair.time < state.started:
            continue
        state.pairs += 1
        state.differences.add(pair.time, pair.champion - pair.candidate)
        state.champion_losses.add(pair.time, pair.champion)
        state.candidate_losses.add(pair.time, pair.candidate)
    state.labelled_until = max(state.labelled_until, labelled_until)
    test = mean_test(state.differences.complete(state.labelled_until), rules.alpha / 2, rules.minimum_blocks)
    enough = state.differences.rows(state.labelled_until) >= rules.minimum_labels
    if test.outcome == "positive" and enough:
        return end(state, "promoted", _verdict(state, "pass", test, "lower"))
    if test.outcome == "negative" and enough:
        return end(state, "rolled_back", _verdict(state, "fail", test, "higher"))
    if now - state.started >= rules.max_days * 86400.0:
        return end(state, "expired", _verdict(state, "inconclusive", test, "not told apart"))
    _step(state, test, rules)
    return state


def _step(state: RolloutState, test: MeanTest, rules: RolloutRules) -> None:
    """Raise the exposure by one step for each complete block in which the candidate did not look worse."""
    if state.status == "canary" and test.mean >= 0:
        state.share = rules.steps[min(test.blocks, len(rules.steps) - 1)]


def _verdict(state: RolloutState, outcome: Outcome, test: MeanTest, word: str) -> Verdict:
    low, high = test.interval
    labels = state.differences.rows(state.labelled_until)
    evidence = {
        "pairs": labels,
        "blocks": test.blocks,
        "champion_loss": _mean(state.champion_losses),
        "candidate_loss": _mean(state.candidate_losses),
        "difference": test.mean,
        "interval": [low, high] if test.blocks > 1 and low > float("-inf") else None,
        "log_e": test.log_e,
        "labelled_until": show_time(state.labelled_until) if state.labelled_until > 0 else None,
    }
    told = f"loss {word} by {abs(test.mean):.4g}" if outcome != "inconclusive" else "losses not told apart"
    reason = f"{told} on {labels} paired labels in {test.blocks} blocks"
    if outcome == "inconclusive":
        reason += "; the champion stays"
    return Verdict("rollout", outcome, reason, evidence)


def _mean(blocks: BlockMeans) -> float | None:
    return sum(blocks.sums) / sum(blocks.counts) if sum(blocks.counts) else None


def end(state: RolloutState, status: Status, verdict: Verdict) -> RolloutState:
    """End a rollout by a verdict: its own, or a person's."""
    state.status, state.verdict, state.share = status, verdict, 0.0
    return state
