"""What serves now: the plan's shares, who answered how often, and what the rollout under way has shown so far."""

from __future__ import annotations

from typing import Any

from everloop.loop.controller import ControllerState
from everloop.loop.plans import current_plan
from everloop.loop.records import load_state
from everloop.loop.watch import Compared, label_coverage
from everloop.loop.wiring import rollout_rules
from everloop.loop.workspace import Workspace
from everloop.rollouts import compare, judged_safe, told
from everloop.types import Plan, show_time

__all__ = ["deployment"]


def deployment(workspace: Workspace) -> dict[str, Any]:
    """Return the versions that serve and, while one is being judged, the figures of its rollout."""
    plan = current_plan(workspace)
    if plan is None:
        return {"project": workspace.name, "versions": [], "rollout": None}
    with workspace.store.read() as connection:
        state: ControllerState = load_state(connection, "controller", ControllerState)
    traffic = state.watch.traffic
    versions = [
        {"version": v.version, "role": v.role, "share": v.weight, "rows_answered": traffic.get(v.version, 0)}
        for v in plan.variants
    ]
    return {
        "project": workspace.name,
        "plan_generation": plan.generation,
        "sticky_by": plan.sticky_by,
        "versions": versions,
        "rollout": _rollout(workspace, state, plan),
    }


def _rollout(workspace: Workspace, state: ControllerState, plan: Plan) -> dict[str, Any] | None:
    rollout = state.rollout
    if rollout is None or plan.candidate is None:
        return None
    rules = rollout_rules(workspace.settings)
    test = compare(rollout, rules)
    return {
        "id": state.rollout_id,
        "strategy": rollout.status,
        "since": show_time(rollout.started),
        "until": show_time(rollout.started + rules.max_days * 86400),
        **told(rollout, test),
        "label_coverage": label_coverage(state.watch),
        "checks": {part.check: part.reason for part in judged_safe(rollout, rules).leaves},
        "labels_needed": rules.minimum_labels,
        "blocks_needed": rules.minimum_blocks,
        "answers_compared": _differences(state.watch.compared, plan.candidate.version),
    }


def _differences(compared: Compared, candidate: str) -> dict[str, Any] | None:
    if compared.candidate != candidate or not compared.rows:
        return None
    return {
        "rows": compared.rows,
        "mean_difference": compared.total / compared.rows,
        "largest_difference": compared.largest,
        "other_class": compared.disagreements / compared.rows,
    }
