"""How a candidate takes over: a pure state machine over losses, exposure and time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.checks import Outcome, Verdict
from everloop.rollouts.exposure import Exposure
from everloop.rollouts.keys import KeyLosses
from everloop.rollouts.rules import RANDOMISED, RolloutRules, Strategy
from everloop.rollouts.safety import Evidence, safety
from everloop.rollouts.slices import SLICES, Group, Slice
from everloop.statistics import BlockMeans, MeanTest, mean_test
from everloop.types import show_time

__all__ = [
    "ACTIVE",
    "Answered",
    "Pair",
    "RolloutState",
    "advance",
    "begin",
    "compare",
    "end",
    "gains",
    "judged_safe",
    "told",
]

Status = Literal["shadow", "canary", "ab", "bandit", "promoted", "rolled_back", "expired"]
ACTIVE: tuple[Status, ...] = ("shadow", "canary", "ab", "bandit")
MISMATCH = 3.5
"""Standard errors of the candidate's share of the answers beyond which an experiment is not trusted (1 in 2,000)."""


class Pair(msgspec.Struct, frozen=True):
    """The losses of champion and candidate on one request, in prediction-time order.

    `values` are those of the columns that slices are made of. `groups` are those of sensitive columns; `measures` is
    what fairness looks at, of champion and candidate.
    """

    time: float
    champion: float
    candidate: float
    values: Mapping[str, str] = {}
    groups: Mapping[str, str] = {}
    measures: tuple[Sequence[float], Sequence[float]] = ((), ())


class Answered(msgspec.Struct, frozen=True):
    """The loss of the version that a draw let answer, and the `propensity` with which it was drawn.

    `alone`: the draw was this request's own, not that of its `key`. `values`, `groups`, `measures`: as of a pair, but
    of the version that answered.
    """

    time: float
    candidate: bool
    loss: float
    propensity: float
    alone: bool = True
    key: str = ""
    values: Mapping[str, str] = {}
    groups: Mapping[str, str] = {}
    measures: Sequence[float] = ()


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
    strategy: Strategy | None = None
    """None in what was stored before there was this field; its status says it while it is active."""
    pairs: int = 0
    labelled_until: float = 0.0
    verdict: Verdict | None = None
    step: int = 0
    """The canary's step, and the blocks that had been judged when it was set."""
    stepped: int = 0
    surplus: float = 0.0
    """By how many answers the candidate has more than the draws let expect, and the variance of that number."""
    surplus_variance: float = 0.0
    keys: KeyLosses | None = None
    """What an experiment is judged on where requests of one key see one version."""
    exposure: Exposure = msgspec.field(default_factory=Exposure)
    slices: dict[str, Slice] = {}
    groups: dict[str, dict[str, Group]] = {}

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def randomised(self) -> bool:
        """Whether it is judged on what each version itself answered, instead of on pairs."""
        return (self.strategy or self.status) in RANDOMISED

    @property
    def labels(self) -> int:
        """How many labels its verdict rests on so far: pairs, rows of both versions, or keys."""
        if self.keys is not None:
            return self.keys.keys
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
    state.status = state.strategy = rules.strategy
    state.share = {"canary": rules.steps[0], "shadow": 0.0}.get(rules.strategy, rules.split)
    if rules.by_key and rules.strategy in RANDOMISED:
        state.keys = KeyLosses(rules.block)
    return state


def advance(
    state: RolloutState,
    observed: Sequence[Pair | Answered],
    labelled_until: float,
    now: float,
    rules: RolloutRules,
    exposure: Exposure | None = None,
) -> RolloutState:
    """Take new losses and judge: a failed safety check rolls back at once, then pass promotes, fail rolls back.

    `max_days` without a verdict expires. Only complete blocks of event time count, so looking more often adds no chance
    of a false verdict. A rollout that has ended stays as it is.
    """
    if not state.active:
        return state
    for one in observed:
        if one.time >= state.started:
            _take(state, one)
    state.labelled_until = max(state.labelled_until, labelled_until)
    if state.keys is not None:
        for keys in (state.keys, *(one.keys for one in state.slices.values() if one.keys)):
            keys.complete(state.labelled_until)
    state.exposure = exposure or state.exposure
    test, safe = compare(state, rules), judged_safe(state, rules)
    if safe.failed:
        evidence = {"strategy": state.status, **told(state, test)}
        return end(state, "rolled_back", Verdict("rollout", "fail", safe.reason, evidence, safe.parts))
    if mismatch := _mismatch(state):
        test = msgspec.structs.replace(test, outcome="inconclusive")
    enough = state.labels >= rules.minimum_labels
    if test.outcome == "positive" and enough:
        return end(state, "promoted", _verdict(state, "pass", test, "lower", safe))
    if test.outcome == "negative" and enough:
        return end(state, "rolled_back", _verdict(state, "fail", test, "higher", safe))
    if now - state.started >= rules.max_days * 86400.0:
        words = mismatch or "losses not told apart"
        return end(state, "expired", _verdict(state, "inconclusive", test, words, safe))
    _expose(state, test, rules)
    return state


def judged_safe(state: RolloutState, rules: RolloutRules) -> Verdict:
    """Return what the safety checks say so far: errors, latency, guards, slices, fairness."""
    return safety(
        Evidence(
            rules, state.labelled_until, state.randomised, state.exposure,
            state.slices, state.groups, state.champion_losses,
        )
    )  # fmt: skip


def compare(state: RolloutState, rules: RolloutRules) -> MeanTest:
    """Return what the losses say so far: the mean of champion minus candidate over complete blocks."""
    return mean_test(gains(state), rules.alpha / 2, rules.minimum_blocks)


def gains(state: RolloutState) -> NDArray[np.float64]:
    """Return champion minus candidate, one value a complete block (a batch, where keys are counted)."""
    until = state.labelled_until
    if state.keys is not None:
        return state.keys.means()
    if state.randomised:
        return state.champion_losses.minus(state.candidate_losses, until)
    return state.differences.complete(until)


def _take(state: RolloutState, seen: Pair | Answered) -> None:
    if isinstance(seen, Pair):
        state.pairs += 1
        state.differences.add(seen.time, seen.champion - seen.candidate)
        state.champion_losses.add(seen.time, seen.champion)
        state.candidate_losses.add(seen.time, seen.candidate)
        for one in _slices(state, seen.values):
            one.pair(seen.time, seen.champion, seen.candidate)
        for group in _groups(state, seen.groups):
            for candidate, measures in enumerate(seen.measures):
                group.add(seen.time, bool(candidate), measures, 1.0, state.differences)
        return
    if state.keys is not None:
        _take_of_key(state, state.keys, seen)
        return
    losses = state.candidate_losses if seen.candidate else state.champion_losses
    losses.add(seen.time, seen.loss, 1 / seen.propensity)
    for one in _slices(state, seen.values):
        (one.candidate if seen.candidate else one.champion).add(seen.time, seen.loss, 1 / seen.propensity)
    for group in _groups(state, seen.groups):
        group.add(seen.time, seen.candidate, seen.measures, 1 / seen.propensity, state.differences)
    if seen.alone:
        _draw(state, seen)


def _take_of_key(state: RolloutState, keys: KeyLosses, seen: Answered) -> None:
    """Take one row of an experiment that counts keys; rows without a key are left out.

    Groups are compared on the first row of each key: keys are what was drawn, and so independent.
    """
    if not seen.key:
        return
    for one in _slices(state, seen.values):
        one.keys = one.keys or KeyLosses(keys.window)
        one.keys.add(seen.key, seen.time, seen.candidate, seen.loss, seen.propensity)
    if keys.add(seen.key, seen.time, seen.candidate, seen.loss, seen.propensity):
        for group in _groups(state, seen.groups):
            group.add(seen.time, seen.candidate, seen.measures, 1 / seen.propensity, state.differences)
        _draw(state, seen)


def _draw(state: RolloutState, seen: Answered) -> None:
    """Count one draw: of a request, or of a key when it comes for the first time."""
    share = seen.propensity if seen.candidate else 1 - seen.propensity
    state.surplus += seen.candidate - share
    state.surplus_variance += share * (1 - share)


def _slices(state: RolloutState, values: Mapping[str, str]) -> list[Slice]:
    """Return the slices that a row lies in."""
    for name in (f"{column}={value}" for column, value in values.items()):
        if name not in state.slices and len(state.slices) < SLICES:
            state.slices[name] = Slice.empty(state.differences.start, state.differences.length)
    return [state.slices[n] for n in (f"{column}={v}" for column, v in values.items()) if n in state.slices]


def _groups(state: RolloutState, groups: Mapping[str, str]) -> list[Group]:
    found = []
    for column, value in groups.items():
        known = state.groups.setdefault(column, {})
        if value in known or len(known) < SLICES:
            found.append(known.setdefault(value, Group()))
    return found


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

    A canary goes up one step when another block is judged and it does not look worse so far. A bandit gets the
    probability that its loss is the lower one: Thompson sampling (1933), its posterior renewed when labels are judged.
    """
    if state.status == "canary" and test.blocks > state.stepped:
        state.stepped = test.blocks
        state.step = min(state.step + (test.mean >= 0), len(rules.steps) - 1)
        state.share = rules.steps[state.step]
    if state.status == "bandit" and test.blocks >= rules.minimum_blocks:
        better = 0.5 * math.erfc(-test.mean / (max(test.error, 1e-12) * math.sqrt(2)))
        state.share = round(min(max(better, rules.explore), 1 - rules.explore), 2)


def _verdict(state: RolloutState, outcome: Outcome, test: MeanTest, word: str, safe: Verdict) -> Verdict:
    evidence, on = {"strategy": state.status, **told(state, test)}, _on(state, test)
    if outcome == "inconclusive":
        return Verdict("rollout", outcome, f"{word} on {on}; the champion stays", evidence, safe.parts)
    return Verdict("rollout", outcome, f"loss {word} by {abs(test.mean):.4g} on {on}", evidence, safe.parts)


def _on(state: RolloutState, test: MeanTest) -> str:
    if state.keys is not None:
        return f"{state.labels} keys in {test.blocks} batches"
    return (
        f"{state.labels} {'labels of drawn answers' if state.randomised else 'paired labels'} in {test.blocks} blocks"
    )


def told(state: RolloutState, test: MeanTest) -> dict[str, object]:
    """Return what is known so far, as it is stored and shown."""
    low, high = test.interval
    keys = state.keys
    return {
        "keys" if keys else "labels" if state.randomised else "pairs": state.labels,
        "blocks": test.blocks,
        "champion_loss": keys.mean(False) if keys else state.champion_losses.mean(),
        "candidate_loss": keys.mean(True) if keys else state.candidate_losses.mean(),
        "difference": test.mean,
        "interval": [low, high] if test.blocks > 1 and low > float("-inf") else None,
        "log_e": test.log_e,
        "labelled_until": show_time(state.labelled_until) if state.labelled_until > 0 else None,
    }


def end(state: RolloutState, status: Status, verdict: Verdict) -> RolloutState:
    """End a rollout by a verdict: its own, or a person's."""
    state.status, state.verdict, state.share = status, verdict, 0.0
    return state
