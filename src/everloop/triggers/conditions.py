"""Conditions over what is known now: each is a check, joined with `&` and `|`; a pass means act."""

from __future__ import annotations

import msgspec

from everloop.checks import Check, Verdict
from everloop.types import Json, Signal, show_time

__all__ = [
    "Occurrence",
    "TriggerState",
    "budget",
    "cooldown",
    "cooldown_of",
    "debounced",
    "firing",
    "happened",
    "lengthened",
    "no_rollout",
    "rearmed",
]


class Occurrence(msgspec.Struct, frozen=True):
    """What one trigger saw: a clause, when it was last added to, the events behind it, what is to be done with them."""

    reason: str
    time: float
    events: tuple[str, ...] = ()
    evidence: dict[str, Json] = {}


MOST_DOUBLINGS = 3


class TriggerState(msgspec.Struct, frozen=True):
    """What a condition may look at: the time, the newest signal of each name, the times of past retrainings.

    `occurrences` and `last` are what each trigger saw and when it last led to a retraining; a trigger that is `spent`
    has not been quiet since then.
    """

    time: float
    signals: dict[str, Signal]
    retrainings: tuple[float, ...] = ()
    rollout: str | None = None
    fruitless: int = 0
    """Retrainings in a row that were no better."""
    occurrences: dict[str, Occurrence] = {}
    last: dict[str, float] = {}
    spent: tuple[str, ...] = ()


def firing(name: str) -> Check[TriggerState]:
    """Pass while the newest signal of that name fires."""

    def judge(state: TriggerState) -> Verdict:
        signal = state.signals.get(name)
        if signal is None:
            return Verdict(f"firing({name})", "fail", f"no {name} signal yet")
        evidence = {"value": signal.value, "threshold": signal.threshold}
        if not signal.firing:
            return Verdict(f"firing({name})", "fail", f"{name} is quiet at {signal.value:.4g}", evidence)
        return Verdict(
            f"firing({name})", "pass", f"{name} at {signal.value:.4g}, over {signal.threshold:.4g}", evidence
        )

    return Check(f"firing({name})", judge)


def lengthened(seconds: float, fruitless: int) -> float:
    """Return a cooldown: from the second retraining in a row that was no better it is twice as long each time."""
    return seconds * 2.0 ** min(max(0, fruitless - 1), MOST_DOUBLINGS)


def cooldown(seconds: float) -> Check[TriggerState]:
    """Pass once the last retraining lies at least that long back, and longer while retrainings are `fruitless`."""

    def judge(state: TriggerState) -> Verdict:
        if not state.retrainings:
            return Verdict("cooldown", "pass", "no retraining yet")
        since, wait = state.time - max(state.retrainings), lengthened(seconds, state.fruitless)
        evidence = {"last": max(state.retrainings), "seconds": wait}
        if since < wait:
            until = show_time(max(state.retrainings) + wait)
            return Verdict("cooldown", "fail", f"the cooldown lasts until {until}", evidence)
        return Verdict("cooldown", "pass", f"last retraining {since / 86400:.0f} days ago", evidence)

    return Check("cooldown", judge)


def budget(count: int, period: float) -> Check[TriggerState]:
    """Pass while fewer than `count` retrainings lie in the last `period` seconds."""

    def judge(state: TriggerState) -> Verdict:
        used = sum(state.time - t < period for t in state.retrainings)
        evidence = {"used": used, "count": count, "period": period}
        days = f"{period / 86400:.0f} days"
        if used >= count:
            return Verdict("budget", "fail", f"all {count} retrainings of {days} are used", evidence)
        return Verdict("budget", "pass", f"{used} of {count} retrainings of {days} used", evidence)

    return Check("budget", judge)


def no_rollout() -> Check[TriggerState]:
    """Pass while no candidate is being judged: during a rollout the loop records and does not act."""

    def judge(state: TriggerState) -> Verdict:
        if state.rollout:
            return Verdict("no_rollout", "fail", f"rollout {state.rollout} is being judged")
        return Verdict("no_rollout", "pass", "no rollout under way")

    return Check("no_rollout", judge)


def happened(trigger: str) -> Check[TriggerState]:
    """Pass while there is something that the trigger saw."""

    def judge(state: TriggerState) -> Verdict:
        seen = state.occurrences.get(trigger)
        if seen is None:
            return Verdict(trigger, "fail", f"{trigger} saw nothing")
        return Verdict(trigger, "pass", seen.reason, {"events": list(seen.events)})

    return Check(trigger, judge)


def debounced(trigger: str, seconds: float) -> Check[TriggerState]:
    """Pass once nothing was added for that long to what the trigger saw."""

    def judge(state: TriggerState) -> Verdict:
        seen = state.occurrences.get(trigger)
        if seen and state.time - seen.time < seconds:
            return Verdict("debounced", "fail", f"{trigger} waits for quiet until {show_time(seen.time + seconds)}")
        return Verdict("debounced", "pass", f"nothing new for {seconds:g} s")

    return Check("debounced", judge)


def cooldown_of(trigger: str, seconds: float) -> Check[TriggerState]:
    """Pass once the last retraining that the trigger led to lies at least that long back."""

    def judge(state: TriggerState) -> Verdict:
        last = state.last.get(trigger)
        if last is not None and state.time - last < seconds:
            return Verdict("cooldown", "fail", f"the cooldown of {trigger} lasts until {show_time(last + seconds)}")
        return Verdict("cooldown", "pass", f"no cooldown of {trigger}", {"last": last, "seconds": seconds})

    return Check("cooldown", judge)


def rearmed(trigger: str) -> Check[TriggerState]:
    """Pass unless the trigger already led to a retraining and has not been quiet since (hysteresis)."""

    def judge(state: TriggerState) -> Verdict:
        if trigger in state.spent:
            return Verdict("rearmed", "fail", f"{trigger} was answered already and has not been quiet since")
        return Verdict("rearmed", "pass", f"{trigger} is new")

    return Check("rearmed", judge)
