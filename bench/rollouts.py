"""How often a rollout is wrong, and how long it takes: simulated pairs through the product's own state machine.

Hourly loss differences of two models; a day is a block, thirty days at most (A/A), fourteen (power). Printed are the
share of A/A rollouts that promote (allowed: half of `alpha` a side) and the labelled hours to a verdict when the
candidate is better by so many standard deviations of a day's mean. Then, of the safety checks and of experiments that
count keys, how often they are wrong. Run `python bench/rollouts.py`.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.rollouts.simulated import answering, by_key, failing, flagging, rolled_back, selecting, slicing

from everloop.rollouts import Answered, Pair, RolloutRules, advance, begin

Floats = NDArray[np.float64]
HOUR, DAY = 3600.0, 24
STREAMS, DAYS = 1000, 30


def main() -> None:
    """Print both tables."""
    rng = np.random.default_rng(1)
    hours = DAYS * DAY
    noise = {
        "independent": _ar(rng, hours, 0.0),
        "AR 0.5": _ar(rng, hours, 0.5),
        "AR 0.8": _ar(rng, hours, 0.8),
        "AR 0.9": _ar(rng, hours, 0.9),
        "AR 0.95": _ar(rng, hours, 0.95),
        "days AR 0.3": np.repeat(_ar(rng, DAYS, 0.3), DAY, axis=1) + _ar(rng, hours, 0.5),
    }
    print(f"{'A/A, ' + str(STREAMS) + ' streams of 30 days':<40}{'promoted':>10}{'rolled back':>13}")
    for name, stream in noise.items():
        ends = [_roll_out(one, RolloutRules(max_days=float(DAYS))) for one in stream]
        passed, failed = (np.mean([status == wanted for status, _ in ends]) for wanted in ("promoted", "rolled_back"))
        print(f"{name:<40}{passed:>10.1%}{failed:>13.1%}")
    for strategy in ("ab", "bandit"):
        ends = [_experiment(one, rng, RolloutRules(strategy, max_days=float(DAYS))) for one in noise["AR 0.8"]]
        passed, failed = (np.mean([status == wanted for status in ends]) for wanted in ("promoted", "rolled_back"))
        print(f"{f'{strategy}, level AR 0.8, own noise':<40}{passed:>10.1%}{failed:>13.1%}")
    stream = noise["AR 0.8"][:, : 14 * DAY]
    spread = float(stream.reshape(STREAMS, 14, DAY).mean(2).std())
    print(f"{'better by (standard deviations of a day)':<40}{'promoted':>10}{'median hours':>13}")
    for effect in (0.5, 1.0, 1.5, 2.0, 3.0):
        ends = [_roll_out(one + effect * spread, RolloutRules()) for one in stream]
        hours_to = [labels for status, labels in ends if status == "promoted"]
        print(f"{effect:<40}{len(hours_to) / STREAMS:>10.0%}{np.median(hours_to) if hours_to else np.nan:>13.0f}")
    _safety()


def _safety(times: int = 100) -> None:
    """Print how often each check rolls back a candidate that is no worse, and one that is."""
    print(f"{f'safety check, {times} rollouts of 14 days':<40}{'no worse':>10}{'worse':>13}")
    worse = {
        "errors": (failing, partial(failing, worse=3.0)),
        "guards": (flagging, partial(flagging, more=6.0)),
        "latency": (answering, partial(answering, slower=4.0)),
        "slices": (slicing, partial(slicing, worse=3.0)),
        "fairness": (selecting, partial(selecting, apart=0.5)),
    }
    for name, plays in worse.items():
        same, bad = (rolled_back(play, name, times) / times for play in plays)
        print(f"{name:<40}{same:>10.0%}{bad:>13.0%}")
    print(f"{'experiment, rows of a key alike':<40}{'promoted':>10}{'rolled back':>13}")
    for name, count in (("counting keys", True), ("counting rows", False)):
        ends = [by_key(np.random.default_rng((0, n)), count=count).status for n in range(times)]
        print(f"{name:<40}{ends.count('promoted') / times:>10.0%}{ends.count('rolled_back') / times:>13.0%}")


def _roll_out(differences: Floats, rules: RolloutRules) -> tuple[str, int]:
    """Return how a rollout ends and after how many labels; looked at once a day."""
    state = begin("v1", "v2", 0.0, rules)
    for start in range(0, len(differences), DAY):
        pairs = [Pair((start + n) * HOUR, float(d), 0.0) for n, d in enumerate(differences[start : start + DAY])]
        end = (start + DAY) * HOUR
        advance(state, pairs, end, end, rules)
        if not state.active:
            return state.status, start + DAY
    return state.status, len(differences)


def _experiment(level: Floats, rng: np.random.Generator, rules: RolloutRules) -> str:
    """Return how an A/A experiment ends: four answers an hour, drawn by the share, on a level that both share."""
    state, losses = begin("v1", "v2", 0.0, rules), np.repeat(level, 4) + rng.standard_normal(4 * len(level))
    for start in range(0, len(losses), 4 * DAY):
        drawn = rng.random(4 * DAY) < state.share
        answered = [
            Answered((start + n) * HOUR / 4, bool(new), float(loss), state.share if new else 1 - state.share)
            for n, (new, loss) in enumerate(zip(drawn, losses[start : start + 4 * DAY], strict=True))
        ]
        end = (start / 4 + DAY) * HOUR
        advance(state, answered, end, end, rules)
        if not state.active:
            break
    return state.status


def _ar(rng: np.random.Generator, steps: int, rho: float) -> Floats:
    """Return `STREAMS` stationary autoregressive series."""
    noise = rng.standard_normal((STREAMS, steps))
    noise[:, 0] /= np.sqrt(1 - rho**2)
    for step in range(1, steps):
        noise[:, step] += rho * noise[:, step - 1]
    return noise


if __name__ == "__main__":
    main()
