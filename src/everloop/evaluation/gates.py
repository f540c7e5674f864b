"""Gates: conditions of the project file over a candidate's evidence; nothing is registered without their verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from operator import and_
from typing import Any

import msgspec
import numpy as np

from everloop.checks import Check, Verdict
from everloop.errors import SettingsError, close_match
from everloop.evaluation.metrics import METRICS

__all__ = ["GateEvidence", "build_gate", "needs_approval"]


APPROVAL = "approval"
BEYOND_DOUBT = 1.645  # standard errors, one-sided 5 %


class GateEvidence(msgspec.Struct, frozen=True):
    """What a gate looks at: out-of-time metrics, and both models' mean losses by block on the same rows."""

    metrics: dict[str, float]
    candidate: tuple[float, ...] = ()
    champion: tuple[float, ...] | None = None
    """None at the first training: there is nothing to beat."""


def build_gate(gates: Mapping[str, Any]) -> Check[GateEvidence]:
    """Return the check that the `[gates]` table describes: all of its conditions must pass.

    `METRIC = { min = ..., max = ... }` bounds a metric; `beats_champion = true` refuses a candidate whose
    loss on the same out-of-time rows is higher than the champion's beyond doubt (one-sided 5 %). Just after
    a change hardly any of these rows show it, so a tie says little: that the candidate is better is for the
    rollout's live pairs to show. With no block to compare, or one that looks worse, it is inconclusive.
    """
    checks: list[Check[GateEvidence]] = []
    needs_approval(gates)
    for name, bounds in gates.items():
        if name == APPROVAL:
            continue
        if name == "beats_champion":
            if not isinstance(bounds, bool):
                raise SettingsError(f"[gates] beats_champion = {bounds!r}: write true or false")
            checks += [_beats_champion()] if bounds else []
        elif name not in METRICS:
            raise SettingsError(
                f"[gates] unknown metric {name!r}{close_match(name, [*METRICS, 'beats_champion', APPROVAL])}"
            )
        elif not _are_bounds(bounds):
            raise SettingsError(
                f"[gates] {name} = {bounds!r}: write {{ min = ... }}, {{ max = ... }} or both, in numbers"
            )
        elif bounds.get("min", -math.inf) > bounds.get("max", math.inf):
            raise SettingsError(f"[gates] {name} = {bounds!r}: no value lies within")
        else:
            checks.append(_bounded(name, bounds.get("min"), bounds.get("max")))
    if not checks:
        return Check("gates", lambda _: Verdict("gates", "pass", "the project file sets no gate"))
    return reduce(and_, checks)


def needs_approval(gates: Mapping[str, Any]) -> bool:
    """Tell whether `[gates] approval` asks a person: a version that passed all else waits until it is approved."""
    wanted = gates.get(APPROVAL, False)
    if not isinstance(wanted, bool):
        raise SettingsError(f"[gates] {APPROVAL} = {wanted!r}: write true or false")
    return wanted


def _are_bounds(bounds: object) -> bool:
    if not isinstance(bounds, dict) or not bounds or set(bounds) - {"min", "max"}:
        return False
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in bounds.values())


def _bounded(name: str, low: float | None, high: float | None) -> Check[GateEvidence]:
    def judge(evidence: GateEvidence) -> Verdict:
        value = evidence.metrics.get(name)
        if value is None or not math.isfinite(value):
            told = f"{name} was not measured: it belongs to another task, or these rows do not tell it"
            return Verdict(name, "fail", told, {"value": None, "min": low, "max": high})
        numbers = {"value": value, "min": low, "max": high}
        if (low is not None and value < low) or (high is not None and value > high):
            bound = f"below {low:.4g}" if low is not None and value < low else f"above {high:.4g}"
            return Verdict(name, "fail", f"{name} {value:.4g} is {bound}", numbers)
        return Verdict(name, "pass", f"{name} {value:.4g} is within bounds", numbers)

    return Check(name, judge)


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
        numbers = {
            "candidate": float(np.mean(evidence.candidate)),
            "champion": float(np.mean(evidence.champion)),
            "gain": effect,
            "interval": [effect - 1.96 * error, effect + 1.96 * error],
            "blocks": len(gain),
        }
        told = f"loss {numbers['candidate']:.4g} against the champion's {numbers['champion']:.4g} on {len(gain)} blocks"
        if effect > 0:
            return Verdict(name, "pass", told, numbers)
        if effect < 0 and len(gain) == 1:
            return Verdict(name, "inconclusive", f"{told}: one block leaves every doubt", numbers)
        if effect + BEYOND_DOUBT * error < 0:
            return Verdict(name, "fail", told, numbers)
        return Verdict(name, "pass", f"{told}, not worse beyond doubt", numbers)

    return Check(name, judge)
