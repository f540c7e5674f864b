"""Gates: conditions of the project file over a candidate's evidence; nothing is registered without their verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

import msgspec
import numpy as np

from everloop.checks import Check, Outcome, Verdict
from everloop.errors import SettingsError, UsageError, close_match
from everloop.evaluation.answered import Answered
from everloop.evaluation.explanations import Predict
from everloop.evaluation.intervals import Figure
from everloop.evaluation.measures import ASKING, MEASURES, WITHOUT_INTERVAL, Measured, measured
from everloop.evaluation.metrics import METRICS
from everloop.types import Json

__all__ = ["GateEvidence", "build_gate", "needs_approval", "own_check", "own_checks"]


APPROVAL, OWN, ANY = "approval", "own", "any"
BEYOND_DOUBT = 1.645  # standard errors, one-sided 5 %


class GateEvidence(msgspec.Struct, frozen=True):
    """What a gate looks at: out-of-time metrics, both models' mean losses by block on the same rows, and all `rows`."""

    metrics: dict[str, float]
    candidate: tuple[float, ...] = ()
    champion: tuple[float, ...] | None = None
    """None at the first training: there is nothing to beat."""
    rows: Answered | None = None
    """The rows that the candidate was judged on, with its out-of-time answers."""
    predict: Predict | None = None
    """Asks the graph that is to be served; None of native models and of images and videos."""


def build_gate(gates: Mapping[str, Any], own: Sequence[Check[GateEvidence]] = ()) -> Check[GateEvidence]:
    """Return the check that the `[gates]` table describes: all of its conditions, and the project's `own`, must pass.

    `NAME = { min = ..., max = ... }` bounds a metric or one of `MEASURES` and `ASKING`; with `sure = true` its whole
    interval. `any = [{...}, {...}]` passes where all conditions of one of these tables pass. `beats_champion = true`
    refuses a candidate whose loss on the same out-of-time rows is higher than the champion's beyond doubt (one-sided
    5 %). Just after a change hardly any of these rows show it, so a tie says little: that the candidate is better is
    for the rollout's live pairs to show. With no block to compare, or one that looks worse, it is inconclusive.
    """
    needs_approval(gates)
    own_checks(gates)
    checks = [*(found for name, asked in gates.items() if (found := _condition(name, asked))), *own]
    if not checks:
        return Check("gates", lambda _: Verdict("gates", "pass", "the project file sets no gate"))
    return reduce(and_, checks)


def needs_approval(gates: Mapping[str, Any]) -> bool:
    """Tell whether `[gates] approval` asks a person: a version that passed all else waits until it is approved."""
    wanted = gates.get(APPROVAL, False)
    if not isinstance(wanted, bool):
        raise SettingsError(f"[gates] {APPROVAL} = {wanted!r}: write true or false")
    return wanted


def own_checks(gates: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the project's own checks: functions from `GateEvidence` to a `Verdict`."""
    named = gates.get(OWN, ())
    if not isinstance(named, list | tuple) or not all(isinstance(one, str) and ":" in one for one in named):
        raise SettingsError(f'[gates] {OWN} = {named!r}: write a list of functions, such as ["gates:fast_enough"]')
    return tuple(named)


def own_check(name: str, judge: Callable[[GateEvidence], Any]) -> Check[GateEvidence]:
    """Return a project's function as a check; raises `UsageError` where it gives no verdict."""

    def told(evidence: GateEvidence) -> Verdict:
        found = judge(evidence)
        if not isinstance(found, Verdict):
            raise UsageError(f"[gates] {OWN}: {name!r} returned {type(found).__name__}, not an everloop.checks.Verdict")
        return found

    return Check(name, told)


def _condition(name: str, asked: Any) -> Check[GateEvidence] | None:
    """Return the check of one key; None where it asks for none."""
    if name in (APPROVAL, OWN):
        return None
    if name == ANY:
        return _any(asked)
    if name == "beats_champion":
        if not isinstance(asked, bool):
            raise SettingsError(f"[gates] beats_champion = {asked!r}: write true or false")
        return _beats_champion() if asked else None
    if name not in METRICS and name not in MEASURES and name not in ASKING:
        known = [*METRICS, *MEASURES, *ASKING, "beats_champion", APPROVAL, OWN, ANY]
        raise SettingsError(f"[gates] unknown metric {name!r}{close_match(name, known)}")
    if not _are_bounds(asked):
        raise SettingsError(f"[gates] {name} = {asked!r}: write {{ min = ... }}, {{ max = ... }} or both, in numbers")
    if asked.get("min", -math.inf) > asked.get("max", math.inf):
        raise SettingsError(f"[gates] {name} = {asked!r}: no value lies within")
    if name in WITHOUT_INTERVAL and asked.get("sure"):
        raise SettingsError(f"[gates] {name} has no interval that sure = true could bound: leave it out")
    return _bounded(name, asked.get("min"), asked.get("max"), asked.get("sure", False))


def _any(asked: Any) -> Check[GateEvidence]:
    if not isinstance(asked, list | tuple) or len(asked) < 2 or not all(isinstance(one, dict) and one for one in asked):
        raise SettingsError(f"[gates] any = {asked!r}: write two tables of conditions or more, [{{ ... }}, {{ ... }}]")
    for one in asked:
        if set(one) & {APPROVAL, OWN}:
            raise SettingsError(f"[gates] any: {APPROVAL} and {OWN} stand in [gates] itself")
    return reduce(or_, [build_gate(one) for one in asked])


def _are_bounds(bounds: object) -> bool:
    if not isinstance(bounds, dict) or not set(bounds) & {"min", "max"} or set(bounds) - {"min", "max", "sure"}:
        return False
    numbers = [value for name, value in bounds.items() if name != "sure"]
    plain = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in numbers)
    return plain and isinstance(bounds.get("sure", False), bool)


def _bounded(name: str, low: float | None, high: float | None, sure: bool) -> Check[GateEvidence]:
    def judge(evidence: GateEvidence) -> Verdict:
        found = _found(name, evidence, sure)
        bounds: dict[str, Json] = {"value": None, "min": low, "max": high}
        if found is None or not math.isfinite(found.figure.value):
            asking = "this kind of model or of columns is not asked, or gave no usable answer"
            why = asking if name in ASKING else "it belongs to another task, or these rows do not tell it"
            outcome: Outcome = "fail" if name in METRICS else "inconclusive"
            return Verdict(name, outcome, f"{name} was not measured: {why}", bounds)
        value, least, most = found.figure.value, found.figure.low, found.figure.high
        bounds |= {"value": value} | ({} if least is None else {"low": least, "high": most})
        bounds |= {"where": found.where} if found.where else {}
        if sure and (least is None or most is None):
            return Verdict(name, "inconclusive", f"{name} {value:.4g} has no interval: too few blocks of time", bounds)
        least, most = (least, most) if sure and least is not None and most is not None else (value, value)
        told = f"{name} {value:.4g}{f' ({least:.4g} to {most:.4g})' if sure else ''}"
        told += f" ({found.where})" if found.where else ""
        verb = "may be" if sure and (low is None or value >= low) and (high is None or value <= high) else "is"
        if low is not None and least < low:
            return Verdict(name, "fail", f"{told} {verb} below {low:.4g}", bounds)
        if high is not None and most > high:
            return Verdict(name, "fail", f"{told} {verb} above {high:.4g}", bounds)
        kept = [f"not below {low:.4g}"] if low is not None else []
        kept += [f"not above {high:.4g}"] if high is not None else []
        return Verdict(name, "pass", f"{told} is {' and '.join(kept)}", bounds)

    return Check(name, judge)


def _found(name: str, evidence: GateEvidence, sure: bool) -> Measured | None:
    """Return what a condition bounds; intervals cost some hundred draws, so metrics have one only where it is asked."""
    if name in METRICS and not sure:
        value = evidence.metrics.get(name)
        return None if value is None else Measured(Figure(value))
    rows = evidence.rows
    return measured(name, rows, evidence.predict) if rows is not None and len(rows) else None


def _beats_champion() -> Check[GateEvidence]:
    name = "beats_champion"

    def judge(evidence: GateEvidence) -> Verdict:
        if evidence.champion is None:
            return Verdict(name, "pass", "no champion yet")
        if not evidence.champion:
            return Verdict(name, "inconclusive", "no rows that the champion was not trained on")
        gain = np.asarray(evidence.champion) - np.asarray(evidence.candidate)
        error = float(gain.std(ddof=1)) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0
        effect = float(gain.mean())
        numbers: dict[str, Any] = {
            "candidate": float(np.mean(evidence.candidate)),
            "champion": float(np.mean(evidence.champion)),
            "gain": effect,
            "blocks": len(gain),
        }
        if len(gain) > 1:  # one block says nothing of its own spread
            numbers["interval"] = [effect - 1.96 * error, effect + 1.96 * error]
        told = f"loss {numbers['candidate']:.4g} against the champion's {numbers['champion']:.4g} on {len(gain)} blocks"
        if effect > 0:
            return Verdict(name, "pass", told, numbers)
        if effect < 0 and len(gain) == 1:
            return Verdict(name, "inconclusive", f"{told}: one block leaves every doubt", numbers)
        if effect + BEYOND_DOUBT * error < 0:
            return Verdict(name, "fail", told, numbers)
        return Verdict(name, "pass", f"{told}, not worse beyond doubt", numbers)

    return Check(name, judge)
