"""What a rollout showed: effect with its interval, exposure, safety checks, slices; for pairs and for experiments."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa

from everloop import store
from everloop.checks import Verdict
from everloop.errors import NotFoundError, UsageError
from everloop.loop.controller import ControllerState
from everloop.loop.records import load_state
from everloop.loop.watch import label_coverage
from everloop.loop.wiring import rollout_rules
from everloop.loop.workspace import Workspace
from everloop.rollouts import RolloutRules, RolloutState, compare, gains, judged_safe, told
from everloop.statistics import MeanTest, mean_test
from everloop.types import show_time

__all__ = ["report"]


def report(workspace: Workspace, id: str | None = None) -> dict[str, Any]:
    """Return the report of a rollout, of the newest one without an id; raises `NotFoundError`."""
    rows = workspace.store.rows(sa.select(store.rollout).order_by(store.rollout.c.started, store.rollout.c.id))
    row = next((r for r in reversed(rows) if id in (None, r["id"])), None)
    if not rows:
        raise UsageError(
            "there was no rollout yet: a retraining that passes its gate, or `everloop deploy`, begins one"
        )
    if row is None:
        raise NotFoundError("rollout", str(id), [r["id"] for r in rows], f"the newest is {rows[-1]['id']}")
    with workspace.store.read() as connection:
        state: ControllerState = load_state(connection, "controller", ControllerState)
    rollout = msgspec.convert(row["state"], RolloutState, strict=False)
    rules = rollout_rules(workspace.settings)
    test = compare(rollout, rules)
    verdict = msgspec.convert(row["verdict"], Verdict) if row["verdict"] else None
    safe = verdict if verdict and verdict.parts else judged_safe(rollout, rules)
    known = told(rollout, test)
    return {
        "rollout": row["id"],
        "champion": row["champion"],
        "candidate": row["candidate"],
        "strategy": rollout.strategy,
        "status": row["status"],
        "started": show_time(row["started"]),
        "ended": show_time(row["ended"]) if row["ended"] else None,
        "reason": verdict.reason if verdict else "being judged",
        "effect": _effect(known, test),
        "counted": {name: known[name] for name in ("pairs", "labels", "keys", "blocks") if name in known},
        "labelled_until": known["labelled_until"],
        "label_coverage": label_coverage(state.watch),
        "exposure": _exposure(rollout),
        "checks": {part.check: _told(part) for part in safe.leaves},
        "slices": _slices(rollout, rules),
        "over_time": _over_time(rollout, rules),
    }


def _effect(known: dict[str, Any], test: MeanTest) -> dict[str, Any]:
    """Return by how much the candidate's loss is lower; positive is better."""
    champion, interval = known["champion_loss"], known["interval"]
    return {
        "lower_by": test.mean if test.blocks else None,
        "interval": interval,
        "relative": test.mean / champion if champion and test.blocks else None,
        "relative_interval": [end / champion for end in interval] if champion and interval else None,
        "champion_loss": champion,
        "candidate_loss": known["candidate_loss"],
        "log_e": test.log_e,
    }


def _exposure(rollout: RolloutState) -> dict[str, Any]:
    seen = rollout.exposure
    blocks = np.asarray(seen.latency.blocks).reshape(-1, 2)
    slow = blocks.mean(0).tolist() if len(blocks) else (None, None)
    variance = rollout.surplus_variance
    sides = {
        "champion": (seen.champion_requests, seen.failures.champion, seen.champion_flagged, slow[0]),
        "candidate": (seen.candidate_requests, seen.failures.candidate, seen.candidate_flagged, slow[1]),
    }
    return {
        "share_now": rollout.share,
        "sample_ratio": {
            "surplus_of_candidate": rollout.surplus,
            "standard_errors": rollout.surplus / variance**0.5 if variance else None,
        },
        **{
            side: dict(zip(("drawn_answers", "failed", "flagged", "p95_seconds"), figures, strict=True))
            for side, figures in sides.items()
        },
    }


def _told(verdict: Verdict) -> dict[str, Any]:
    return {"outcome": verdict.outcome, "reason": verdict.reason}


def _slices(rollout: RolloutState, rules: RolloutRules) -> list[dict[str, Any]]:
    """Return each slice's effect; intervals are each slice's own, the check's level is corrected for their number."""
    found = []
    for name, one in rollout.slices.items():
        until, drawn = rollout.labelled_until, rollout.randomised
        test = mean_test(one.gains(until, drawn), rules.alpha / 2, rules.minimum_blocks)
        found.append(
            {
                "slice": name,
                "labels": one.rows(until, drawn),
                "lower_by": test.mean if test.blocks else None,
                "interval": _finite(test),
                "champion_loss": one.mean(False),
                "candidate_loss": one.mean(True),
            }
        )
    return found


def _over_time(rollout: RolloutState, rules: RolloutRules) -> list[dict[str, Any]]:
    """Return the effect as it was known after each block."""
    means = gains(rollout)
    tests = [mean_test(means[:n], rules.alpha / 2, n + 1) for n in range(1, len(means) + 1)]
    return [{"blocks": n, "lower_by": test.mean, "interval": _finite(test)} for n, test in enumerate(tests, 1)]


def _finite(test: MeanTest) -> list[float] | None:
    return list(test.interval) if test.blocks > 1 and np.isfinite(test.interval).all() else None
