"""Simulated rollouts of a candidate that is as good as the champion: how often each check rolls it back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from everloop.checks import Verdict
from everloop.rollouts import Answered, Exposure, Pair, RolloutRules, RolloutState, advance, begin

DAY, DAYS = 86300.0, 14
Play = Callable[[np.random.Generator], RolloutState]


def failing(rng: np.random.Generator, worse: float = 1.0) -> RolloutState:
    """Failures come in outages that hit both versions; the candidate fails `worse` times as often."""
    exposure, share = Exposure("v2", 0.0), 0.1
    state = begin("v1", "v2", 0.0, RolloutRules())
    for day in range(DAYS):
        rate = min(1.0, 0.3 if rng.random() < 0.2 else 0.01)
        for n in range(300):
            candidate = bool(rng.random() < share)
            if rng.random() < rate * (worse if candidate else 1.0):
                exposure.failed(candidate, share, f"{day}-{n}")
            else:
                exposure.answered(candidate, share, f"{day}-{n}", seconds=0.01, flagged=False)
        advance(state, [], 0.0, (day + 0.5) * DAY, RolloutRules(), exposure)
    return state


def flagging(rng: np.random.Generator, more: float = 1.0) -> RolloutState:
    """Unusual requests come in clumps; both guards flag those, the candidate's `more` of them."""
    exposure, share = Exposure("v2", 0.0), 0.1
    state = begin("v1", "v2", 0.0, RolloutRules())
    for day in range(DAYS):
        unusual = 0.5 if rng.random() < 0.2 else 0.02
        for n in range(300):
            candidate = bool(rng.random() < share)
            flagged = bool(rng.random() < min(1.0, unusual * (more if candidate else 1.0)))
            exposure.answered(candidate, share, f"{day}-{n}", seconds=0.01, flagged=flagged)
        advance(state, [], 0.0, (day + 0.5) * DAY, RolloutRules(), exposure)
    return state


def answering(rng: np.random.Generator, slower: float = 1.0) -> RolloutState:
    """Latencies with a heavy tail on a level that drifts; the candidate is `slower` times as slow."""
    rules = RolloutRules(max_latency_ratio=2.0)
    exposure, share, level = Exposure("v2", 0.0), 0.3, 0.0
    state = begin("v1", "v2", 0.0, rules)
    for day in range(DAYS):
        for n in range(300):
            level = 0.98 * level + 0.1 * rng.standard_normal()
            candidate = bool(rng.random() < share)
            seconds = 0.01 * float(np.exp(level + 0.6 * rng.standard_normal())) * (slower if candidate else 1.0)
            exposure.answered(candidate, share, f"{day}-{n}", seconds=seconds, flagged=False)
        advance(state, [], 0.0, (day + 0.5) * DAY, rules, exposure)
    return state


def slicing(rng: np.random.Generator, worse: float = 0.0) -> RolloutState:
    """Losses of eight slices with days that differ; in one slice the candidate's are higher by `worse`."""
    state, rules = begin("v1", "v2", 0.0, RolloutRules(alpha=0.05)), RolloutRules()
    for day in range(DAYS):
        slices, noise = rng.integers(0, 8, 96), rng.standard_normal((96, 2)) + 0.3 * rng.standard_normal((1, 2))
        pairs = [
            Pair(
                (day + n / 96) * DAY, 5 + float(noise[n, 0]),
                5 + float(noise[n, 1]) + worse * (slices[n] == 3) - worse / 7 * (slices[n] != 3),
                {"kind": str(slices[n])},
            )
            for n in range(96)
        ]  # fmt: skip
        advance(state, pairs, (day + 1) * DAY, (day + 0.9) * DAY, rules)
    return state


def selecting(rng: np.random.Generator, apart: float = 0.0) -> RolloutState:
    """A classifier for two groups; the candidate selects one of them more often by `apart`."""
    rules = RolloutRules(sensitive=("group",))
    state = begin("v1", "v2", 0.0, rules)
    for day in range(DAYS):
        pairs = []
        for n in range(96):
            group = rng.random() < 0.3
            said = rng.random(2) < (0.4, 0.4 + apart * group)
            wrong = rng.random(2) < 0.2
            measures = tuple((float(s), float(w)) for s, w in zip(said, wrong, strict=True))
            losses = 0.5 + 0.2 * rng.standard_normal(2)
            time = (day + n / 96) * DAY
            pairs.append(
                Pair(time, float(losses[0]), float(losses[1]), {}, {"group": str(group)}, (measures[0], measures[1]))
            )
        advance(state, pairs, (day + 1) * DAY, (day + 0.9) * DAY, rules)
    return state


def by_key(rng: np.random.Generator, better: float = 0.0, count: bool = True) -> RolloutState:
    """Customers of many rows that are alike; each sees one version, the candidate's loss is lower by `better`.

    Without `count` the rows are judged as if they were independent.
    """
    rules = RolloutRules("ab", by_key=count)
    state = begin("v1", "v2", 0.0, rules)
    of_key, side, first = rng.normal(0, 3, 300), rng.random(300) < 0.5, rng.integers(0, 10, 300)
    for day in range(DAYS):
        level = 20 * np.sin(day)
        present = np.flatnonzero((first <= day) & (rng.random(300) < 0.6))
        rows = [
            Answered(
                (day + n / (3 * len(present) + 1)) * DAY, bool(side[k]),
                float(50 + level + of_key[k] + rng.standard_normal() - better * side[k]), 0.5, False, str(k),
            )
            for n, k in enumerate(rng.permutation(np.repeat(present, 3)))
        ]  # fmt: skip
        advance(state, rows, (day + 1) * DAY, (day + 0.9) * DAY, rules)
    return state


def customers(rng: np.random.Generator, worse: float = 0.0, apart: float = 0.0) -> RolloutState:
    """Customers of two kinds; the candidate's losses are higher for one, by `worse`, or it selects it more often."""
    rules = RolloutRules("ab", by_key=True, sensitive=("kind",))
    state = begin("v1", "v2", 0.0, rules)
    of_key, side, first = rng.normal(0, 3, 900), rng.random(900) < 0.5, rng.integers(0, 10, 900)
    kind = rng.random(900) < 0.4
    taste, wrong = rng.random(900) < 0.4 + apart * (side & kind), rng.random(900) < 0.2
    for day in range(DAYS):
        present = np.flatnonzero((first <= day) & (rng.random(900) < 0.5))
        rows = [
            Answered(
                (day + n / (3 * len(present) + 1)) * DAY, bool(side[k]),
                float(50 + of_key[k] + rng.standard_normal() + worse * side[k] * (1 if kind[k] else -0.67)), 0.5,
                False, str(k), {"kind": str(kind[k])}, {"kind": str(kind[k])}, (float(taste[k]), float(wrong[k])),
            )
            for n, k in enumerate(rng.permutation(np.repeat(present, 3)))
        ]  # fmt: skip
        advance(state, rows, (day + 1) * DAY, (day + 0.9) * DAY, rules)
    return state


def rolled_back(play: Play, check: str, times: int, seed: int = 0) -> int:
    """Return how many of so many rollouts this check rolled back."""
    return sum(_failed(play(np.random.default_rng((seed, n))).verdict, check) for n in range(times))


def _failed(verdict: Verdict | None, check: str) -> bool:
    return verdict is not None and any(part.failed for part in verdict.leaves if part.check == check)
