"""Rollouts: better is promoted, worse rolled back, neither expires; looking often changes no verdict."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.rollouts import Answered, Pair, RolloutRules, RolloutState, Strategy, advance, begin

DAY, HOUR = 86400.0, 3600.0
RULES = RolloutRules()


def pairs(gain: float, days: int = 20, seed: int = 0) -> list[Pair]:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (days * 24, 2))
    return [Pair(h * HOUR, 10 + gain + float(noise[h, 0]), 10 + float(noise[h, 1])) for h in range(days * 24)]


def play(rows: list[Pair], rules: RolloutRules = RULES) -> RolloutState:
    state = begin("v1", "v2", 0.0, rules)
    for day in range(1, 20):
        if state.active:
            new = [p for p in rows if (day - 1) * DAY <= p.time < day * DAY]
            advance(state, new, day * DAY, (day + 1) * DAY, rules)
    return state


def test_a_better_candidate_is_promoted_within_days_and_says_by_how_much() -> None:
    state = play(pairs(gain=2.0))
    assert state.status == "promoted"
    assert state.verdict is not None
    assert state.verdict.evidence["difference"] == pytest.approx(2.0, abs=0.5)
    assert state.verdict.evidence["blocks"] <= 6


def test_a_worse_candidate_is_rolled_back() -> None:
    assert play(pairs(gain=-2.0)).status == "rolled_back"


def test_an_equal_candidate_expires_and_the_champion_stays() -> None:
    state = play(pairs(gain=0.0, seed=3))
    assert state.status == "expired"
    assert state.verdict is not None
    assert "the champion stays" in state.verdict.reason
    assert state.share == 0.0


def test_equal_candidates_are_rarely_promoted() -> None:
    promoted = sum(play(pairs(0.0, seed=s)).status == "promoted" for s in range(150))
    assert promoted / 150 <= 0.05


def test_without_labels_nothing_is_decided_before_expiry() -> None:
    state = begin("v1", "v2", 0.0, RULES)
    assert advance(state, [], 0.0, 3 * DAY, RULES).active
    assert advance(state, [], 0.0, 14 * DAY, RULES).status == "expired"


def test_replace_promotes_at_once_and_shadow_takes_no_traffic() -> None:
    assert begin("v1", "v2", 0.0, RolloutRules("replace")).status == "promoted"
    assert begin("v1", "v2", 0.0, RolloutRules("shadow")).share == 0.0
    assert begin("v1", "v2", 0.0, RULES).share == 0.1


def test_exposure_rises_by_steps_while_the_candidate_looks_no_worse() -> None:
    rules = RolloutRules(steps=(0.1, 0.3, 0.5))
    state = begin("v1", "v2", 0.0, rules)
    shares = []
    for day in range(1, 4):
        new = [p for p in pairs(0.4, seed=2) if (day - 1) * DAY <= p.time < day * DAY]
        advance(state, new, day * DAY, (day + 1) * DAY, rules)
        shares.append(state.share)
    assert shares == sorted(shares)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.floats(-2, 2))
@settings(max_examples=30)
def test_how_often_one_looks_and_restarts_changes_no_verdict(cuts: list[int], gain: float) -> None:
    rows = pairs(gain, days=14)
    once = begin("v1", "v2", 0.0, RULES)
    advance(once, rows, 14 * DAY, 14 * DAY, RULES)
    often, position, turn = begin("v1", "v2", 0.0, RULES), 0, 0
    while position < len(rows) and often.active:
        end = min(len(rows), position + cuts[turn % len(cuts)])
        advance(often, rows[position:end], rows[end - 1].time, rows[end - 1].time, RULES)
        often = msgspec.msgpack.decode(msgspec.msgpack.encode(often), type=RolloutState)
        position, turn = end, turn + 1
    if often.active:
        advance(often, [], 14 * DAY, 14 * DAY, RULES)
    assert often.status == once.status


def experiment(
    strategy: Strategy, gain: float, seed: int = 0, days: int = 20, lost: float = 0.0, per_day: int = 96
) -> tuple[RolloutState, list[float]]:
    """Play a rollout in which each request is answered once; the world's level swings by far more than `gain`.

    `lost` is the share of the candidate's labels that never arrive.
    """
    rules, rng = RolloutRules(strategy, max_days=float(days)), np.random.default_rng(seed)
    state, shares = begin("v1", "v2", 0.0, rules), []
    for day in range(days):
        answered = []
        for n in range(per_day):
            candidate = bool(rng.random() < state.share)
            loss = 50 + 30 * np.sin(day) + rng.normal(0, 3) - gain * candidate
            if not (candidate and rng.random() < lost):
                share = state.share if candidate else 1 - state.share
                answered.append(Answered((day + n / per_day) * DAY, candidate, float(loss), share))
        if state.active:
            shares.append(state.share)
            advance(state, answered, (day + 1) * DAY, (day + 1) * DAY, rules)
    return state, shares


@pytest.mark.parametrize("strategy", ["ab", "bandit"])
def test_drawn_answers_find_the_better_version(strategy: Strategy) -> None:
    better, _ = experiment(strategy, gain=3.0)
    assert better.status == "promoted"
    assert better.verdict is not None
    assert better.verdict.evidence["strategy"] == strategy
    low, high = better.verdict.evidence["interval"]
    assert low < 3.0 < high
    assert low > 0
    assert experiment(strategy, gain=-3.0)[0].status == "rolled_back"


@pytest.mark.parametrize("strategy", ["ab", "bandit"])
def test_equal_versions_are_rarely_told_apart(strategy: Strategy) -> None:
    ends = [experiment(strategy, 0.0, seed)[0].status for seed in range(60)]
    assert ends.count("promoted") <= 6
    assert ends.count("expired") >= 50


def test_a_bandit_lets_the_better_version_answer_and_never_all() -> None:
    _, shares = experiment("bandit", gain=0.6, seed=2)
    assert shares[0] == 0.5
    assert max(shares) <= 0.95
    assert np.mean(shares[5:]) > 0.8
    _, shares = experiment("bandit", gain=-0.6, seed=2)
    assert np.mean(shares[5:]) < 0.3
    assert min(shares) >= 0.05


def test_an_experiment_that_loses_labels_of_one_side_gives_no_verdict() -> None:
    state, _ = experiment("ab", gain=3.0, lost=0.4)
    assert state.status == "expired"
    assert state.verdict is not None
    assert "against its share" in state.verdict.reason


def test_an_experiment_that_is_stored_goes_on_as_if_it_had_not_been() -> None:
    rules = RolloutRules("ab")
    state = begin("v1", "v2", 0.0, rules)
    advance(state, [Answered(HOUR, True, 1.0, 0.5), Answered(2 * HOUR, False, 4.0, 0.5)], DAY, DAY, rules)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=RolloutState)
    assert again == state
    assert (again.champion_losses.mean(), again.candidate_losses.mean(), again.labels) == (4.0, 1.0, 2)
