"""What holds of every rollout, whatever is observed in whatever order of looks."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.checks import Verdict
from everloop.rollouts import ACTIVE, Answered, Exposure, Pair, RolloutRules, RolloutState, Strategy, advance, begin
from everloop.rollouts import end as end_rollout

HOUR, DAY = 3600.0, 86400.0
STRATEGIES: list[Strategy] = ["canary", "shadow", "ab", "bandit"]
rules_of = st.builds(
    RolloutRules,
    strategy=st.sampled_from(STRATEGIES),
    steps=st.lists(st.floats(0.01, 0.9), min_size=1, max_size=4).map(lambda s: tuple(sorted(s))),
    split=st.floats(0.1, 0.9),
    minimum_labels=st.integers(0, 60),
    max_days=st.floats(1.0, 10.0),
    by_key=st.booleans(),
    max_latency_ratio=st.none() | st.just(2.0),
    sensitive=st.just(("sex",)),
)


def rows(rules: RolloutRules, gain: float, seed: int, days: int = 12) -> list[Pair | Answered]:
    """Return what is observed: six rows a day of two slices, two groups and a few customers."""
    rng, found = np.random.default_rng(seed), list[Pair | Answered]()
    for n in range(days * 6):
        time, old, new = n * 4 * HOUR, 9 + float(rng.normal()), 9 - gain + float(rng.normal())
        values, groups = {"kind": "ab"[n % 2]}, {"sex": "fm"[n % 2]}
        if rules.strategy in ("ab", "bandit"):
            side = bool(rng.random() < rules.split)
            share = rules.split if side else 1 - rules.split
            loss = new if side else old
            found.append(Answered(time, side, loss, share, True, str(n // 2), values, groups, (loss,)))
        else:
            found.append(Pair(time, old, new, values, groups, ((old,), (new,))))
    return found


def exposed(seed: int, bad: bool) -> Exposure:
    rng, exposure = np.random.default_rng(seed), Exposure("v2", 0.0)
    for n in range(60):
        candidate = bool(rng.random() < 0.3)
        if bad and candidate:
            exposure.failed(True, 0.3, str(n))
        else:
            exposure.answered(candidate, 0.3, str(n), seconds=0.01, flagged=bool(rng.random() < 0.1))
    return exposure


@given(rules_of, st.floats(-3, 3), st.integers(0, 99), st.lists(st.integers(1, 9), min_size=1, max_size=9))
@settings(max_examples=40)
def test_shares_stay_in_bounds_and_every_rollout_ends(
    rules: RolloutRules, gain: float, seed: int, cuts: list[int]
) -> None:
    state, seen, position = begin("v1", "v2", 0.0, rules), rows(rules, gain, seed), 0
    for turn in range(100):
        size = cuts[turn % len(cuts)]
        now = (position + size) * 4 * HOUR
        advance(state, seen[position : position + size], now, now, rules, exposed(seed, bad=seed % 9 == 0))
        position += size
        allowed = {"canary": set(rules.steps), "shadow": {0.0}, "ab": {rules.split}}
        if state.active:
            assert 0.0 <= state.share <= 1.0
            assert rules.strategy == "bandit" or state.share in allowed[rules.strategy]
            assert rules.strategy != "bandit" or min(rules.explore, rules.split) <= state.share
            assert now < rules.max_days * DAY
        else:
            break
    assert not state.active
    assert state.verdict is not None
    assert state.share == 0.0


@given(rules_of, st.floats(-3, 3), st.integers(0, 99), st.lists(st.integers(1, 20), min_size=1, max_size=9))
@settings(max_examples=40)
def test_how_rows_are_batched_changes_no_verdict(rules: RolloutRules, gain: float, seed: int, cuts: list[int]) -> None:
    rules = msgspec.structs.replace(rules, max_days=30.0)
    seen = rows(rules, gain, seed)
    last = len(seen) * 4 * HOUR
    once = advance(begin("v1", "v2", 0.0, rules), seen, last, last, rules)
    often, position, turn = begin("v1", "v2", 0.0, rules), 0, 0
    while position < len(seen) and often.active:
        size = cuts[turn % len(cuts)]
        now = min(len(seen), position + size) * 4 * HOUR
        advance(often, seen[position : position + size], now, now, rules)
        often = msgspec.msgpack.decode(msgspec.msgpack.encode(often), type=RolloutState)
        position, turn = position + size, turn + 1
    assert often.status == once.status or _only_safety_differs(once, often)


def _only_safety_differs(once: RolloutState, often: RolloutState) -> bool:
    """Looking late, a slice that is worse and a verdict on all rows may both be there: either ends the rollout."""
    return any(s.verdict is not None and s.verdict.reason.startswith(("slices", "fairness")) for s in (once, often))


@given(rules_of, st.integers(0, 99), st.integers(0, 30), st.sampled_from(["promoted", "rolled_back"]))
@settings(max_examples=30)
def test_a_person_ends_it_at_any_time_and_nothing_changes_an_end(
    rules: RolloutRules, seed: int, after: int, word: Any
) -> None:
    state, seen = begin("v1", "v2", 0.0, rules), rows(rules, 0.0, seed)
    advance(state, seen[:after], after * 4 * HOUR, after * 4 * HOUR, rules)
    if state.status in ACTIVE:
        end_rollout(state, word, Verdict("person", "fail", "complaints"))
        assert (state.status, state.verdict and state.verdict.reason, state.share) == (word, "complaints", 0.0)
    before = msgspec.msgpack.encode(state)
    advance(state, seen[after:], 99 * DAY, 99 * DAY, rules, exposed(seed, bad=True))
    assert msgspec.msgpack.encode(state) == before


@pytest.mark.parametrize("strategy", ["canary", "ab", "bandit"])
def test_failed_requests_roll_back_at_once_without_labels(strategy: Strategy) -> None:
    rules = RolloutRules(strategy)
    state = advance(begin("v1", "v2", 0.0, rules), [], 0.0, HOUR, rules, exposed(1, bad=True))
    assert state.status == "rolled_back"
    assert state.verdict is not None
    assert "failed requests beside" in state.verdict.reason
    assert "bound 4.6" in state.verdict.reason


def test_a_request_that_is_sent_again_and_again_fails_once() -> None:
    exposure = Exposure("v2", 0.0)
    for _ in range(500):
        exposure.failed(True, 0.1, "the same")
    assert (exposure.failures.candidate, round(exposure.failures.log_e, 1)) == (1, 1.6)


def test_a_slower_candidate_is_borne_where_nobody_notices_and_where_time_is_not_real() -> None:
    def state_of(seconds: float, ratio: float | None) -> str:
        rules, exposure = RolloutRules(max_latency_ratio=ratio), Exposure("v2", 0.0)
        for n in range(1200):
            exposure.answered(n % 2 == 0, 0.5, str(n), seconds=seconds * (1 + 9 * (n % 2 == 0)), flagged=False)
        return advance(begin("v1", "v2", 0.0, rules), [], 0.0, HOUR, rules, exposure).status

    assert [state_of(0.01, 2.0), state_of(0.0001, 2.0), state_of(0.01, None)] == ["rolled_back", "canary", "canary"]


def test_a_canary_holds_its_step_while_the_candidate_looks_worse() -> None:
    rules = RolloutRules(steps=(0.1, 0.3, 0.5, 1.0), minimum_labels=1000)
    state, shares = begin("v1", "v2", 0.0, rules), []
    for day, gain in enumerate([1.0, -5.0, 0.5, 9.0]):
        pairs = [Pair((day + hour / 24) * DAY, 10.0 + gain, 10.0) for hour in range(24)]
        advance(state, pairs, (day + 1) * DAY, (day + 1) * DAY, rules)
        shares.append(state.share)
    assert shares == [0.3, 0.3, 0.3, 0.5]
