"""What a candidate must not do, however good its losses are: five checks, each of which alone rolls it back.

Together they roll back wrongly with a chance of about `alpha` at most, however often one looks: each has a fifth of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.checks import Check, Outcome, Verdict
from everloop.rollouts.exposure import Exposure
from everloop.rollouts.rules import RolloutRules
from everloop.rollouts.slices import SLICES, Group, Slice, disparities
from everloop.statistics import BlockMeans, MeanTest, mean_test

__all__ = ["Evidence", "safety"]

CHECKS = 5
MORE_FLAGGED = 0.05
"""By how much the candidate's share of flagged answers must be above the champion's for it to matter."""
SLOWER = 0.002
"""Seconds by which the candidate must be slower for it to matter."""


class Evidence(msgspec.Struct, frozen=True):
    """All that the checks look at; losses count up to `until`."""

    rules: RolloutRules
    until: float
    randomised: bool
    exposure: Exposure
    slices: Mapping[str, Slice]
    groups: Mapping[str, Mapping[str, Group]]
    losses: BlockMeans
    """Of the champion: what differences of losses are held against."""

    @property
    def level(self) -> float:
        return self.rules.alpha / CHECKS

    @property
    def bound(self) -> float:
        """What the logarithm of an e-process must reach."""
        return math.log(1 / self.level)


def _errors(evidence: Evidence) -> Verdict:
    seen, exposed = evidence.exposure.failures, evidence.exposure
    told = {
        "candidate_failures": seen.candidate,
        "champion_failures": seen.champion,
        "log_e": seen.log_e,
        "bound": evidence.bound,
    }
    if not exposed.candidate_requests and not seen.candidate:
        return Verdict("errors", "inconclusive", "no drawn answers yet", told)
    words = (
        f"{seen.candidate} failed requests beside {exposed.candidate_requests} answers of the candidate, "
        f"{seen.champion} beside {exposed.champion_requests} of the champion"
    )
    return _told("errors", seen.log_e >= evidence.bound, words, seen.log_e, evidence.bound, told)


def _guards(evidence: Evidence) -> Verdict:
    exposed, seen = evidence.exposure, evidence.exposure.flags
    if not exposed.candidate_requests or not exposed.champion_requests:
        return Verdict("guards", "inconclusive", "no drawn answers of both yet")
    mine = exposed.candidate_flagged / exposed.candidate_requests
    theirs = exposed.champion_flagged / exposed.champion_requests
    told = {"candidate": mine, "champion": theirs, "log_e": seen.log_e, "bound": evidence.bound}
    worse = seen.log_e >= evidence.bound and mine - theirs >= MORE_FLAGGED
    words = f"{mine:.1%} of the candidate's answers are flagged, {theirs:.1%} of the champion's"
    return _told("guards", worse, words, seen.log_e, evidence.bound, told)


def _latency(evidence: Evidence) -> Verdict:
    ratio, blocks = evidence.rules.max_latency_ratio, np.asarray(evidence.exposure.latency.blocks).reshape(-1, 2)
    if ratio is None or not len(blocks):
        why = "time is not real here" if ratio is None else "too few drawn answers yet"
        return Verdict("latency", "inconclusive", why)
    logs = np.log(blocks[:, 1] / blocks[:, 0])
    test = mean_test(logs - math.log(ratio), evidence.level, minimum=4)
    found = math.exp(float(logs.mean()))
    slower = float((blocks[:, 1] - blocks[:, 0]).mean())
    told = {"ratio": found, "bound": ratio, "blocks": len(blocks), "slower_seconds": slower}
    words = f"95th percentile {found:.2f} times the champion's (at most {ratio:g}) in {len(blocks)} blocks"
    outcome: Outcome = "fail" if test.outcome == "positive" and slower >= SLOWER else "pass"
    return Verdict("latency", outcome, f"latency: {words}", told)


def _slices(evidence: Evidence) -> Verdict:
    level, needed = evidence.level / SLICES, evidence.rules.minimum_labels
    worst: tuple[str, MeanTest] | None = None
    judged: dict[str, Any] = {}
    for name, one in evidence.slices.items():
        rows = one.rows(evidence.until, evidence.randomised)
        if rows < needed:
            continue
        test = mean_test(one.gains(evidence.until, evidence.randomised), level, evidence.rules.minimum_blocks)
        judged[name] = {"rows": rows, "difference": test.mean, "log_e": test.log_e, "outcome": test.outcome}
        if test.outcome == "negative" and (worst is None or test.log_e > worst[1].log_e):
            worst = name, test
    bound = math.log(1 / (2 * level))
    told = {"slices": judged, "bound": bound}
    if worst is not None:
        name, test = worst
        return _told("slices", True, f"{name}: loss higher by {-test.mean:.4g}", test.log_e, bound, told)
    if not judged:
        none = "no column is a category, or named in [deployment] slices"
        why = f"no slice has {needed} labels yet" if evidence.slices else none
        return Verdict("slices", "inconclusive", why, told)
    return Verdict("slices", "pass", f"slices: worse beyond doubt in none of {len(judged)}", told)


def _fairness(evidence: Evidence) -> Verdict:
    rules = evidence.rules
    if not rules.sensitive:
        return Verdict("fairness", "inconclusive", "no column is named as sensitive")
    told: dict[str, Any] = {"bound": rules.max_disparity_increase}
    reasons, worse = [], False
    for column in rules.sensitive:
        for measure, increases in _increases(evidence, column).items():
            level = evidence.level / (2 * len(rules.sensitive))
            test = mean_test(increases - rules.max_disparity_increase, level, rules.minimum_blocks)
            grown = test.mean + rules.max_disparity_increase
            told[f"{column}: {measure}"] = {"increase": grown, "blocks": test.blocks, "log_e": test.log_e}
            if test.outcome == "positive":
                worse = True
                reasons.append(f"{measure} by {column} differs by {grown:.3g} more than the champion's")
    if worse:
        bound = f"(at most {rules.max_disparity_increase:g})"
        return Verdict("fairness", "fail", f"fairness: {', '.join(reasons)} {bound}", told)
    if len(told) == 1:
        return Verdict("fairness", "inconclusive", "no block has labels enough of two groups", told)
    return Verdict("fairness", "pass", "fairness: groups do not differ more than before", told)


def _increases(evidence: Evidence, column: str) -> dict[str, NDArray[np.float64]]:
    """Return, by measure, how much more groups differ under the candidate, by complete block."""
    groups = evidence.groups.get(column, {})
    measures = max((len(g.champion) for g in groups.values()), default=0)
    found = {}
    for place in range(measures):
        gaps = disparities(groups, place, evidence.until)
        increases = gaps[:, 1] - gaps[:, 0]
        if measures == 1:  # losses have a unit; shares of rows have none
            usual = evidence.losses.by_block(evidence.until)[: len(increases)]
            increases = increases[: len(usual)] / np.maximum(usual, 1e-12)
        name = "mean loss" if measures == 1 else ("selection rate", "error rate")[place]
        if len(known := increases[np.isfinite(increases)]):
            found[name] = known
    return found


def _told(name: str, worse: bool, words: str, log_e: float, bound: float, told: dict[str, Any]) -> Verdict:
    if worse:
        return Verdict(name, "fail", f"{name}: {words} (log evidence {log_e:.1f}, bound {bound:.1f})", told)
    return Verdict(name, "pass", f"{name}: {words}", told)


safety: Check[Evidence] = (
    Check("errors", _errors)
    & Check("latency", _latency)
    & Check("guards", _guards)
    & Check("slices", _slices)
    & Check("fairness", _fairness)
)
