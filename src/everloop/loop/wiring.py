"""Builds the loop of one project from its settings: the only place where its parts meet."""

from __future__ import annotations

from collections.abc import Callable

from everloop.checks import Check
from everloop.evaluation import build_gate, needs_approval
from everloop.journal import Reader
from everloop.loop.controller import Controller
from everloop.loop.developing import developer
from everloop.loop.schemas import schema_of
from everloop.loop.triggering import Triggering
from everloop.loop.watch import Scope, Scorer, Watch, WatchState
from everloop.loop.workspace import Workspace
from everloop.pipelines import LocalExecutor, Progress
from everloop.pipelines.executors import Executor
from everloop.rollouts import RolloutRules
from everloop.settings import Settings, located, seconds
from everloop.triggers import TriggerState, budget, cooldown, firing, names_in, no_rollout

__all__ = ["build_controller", "condition", "rollout_rules"]

Report = Callable[[Progress], None]


def build_controller(
    workspace: Workspace,
    *,
    training_time: Callable[[float], float],
    report: Report,
    executor: Executor | None = None,
    wall: bool = False,
) -> Controller:
    """Return the controller of a project; without an `executor` its steps run in this process.

    Latencies are judged only under the `wall` clock: those of a replay say nothing of a version.
    """
    settings = workspace.settings
    with located(workspace.folder):  # what is wrong is told now, not after the first training
        build_gate(settings.gates)
        alone = condition(settings)
    return Controller(
        workspace,
        lambda state: _watch(workspace, state),
        developer(workspace, report, executor or LocalExecutor(workspace.artifacts)),
        alone,
        rollout_rules(settings, wall=wall),
        lambda: Scorer(schema_of(workspace)),
        block=seconds(settings.monitoring.block),
        interval=seconds(settings.monitoring.interval),
        bounds=settings.recalibration.bounds if settings.recalibration.on else None,
        approval=needs_approval(settings.gates),
        training_time=training_time,
        triggering=Triggering(workspace),
    )


def condition(settings: Settings) -> Check[TriggerState] | None:
    """Return when concept drift by itself calls for a retraining, or None where the project file turns that off."""
    triggers = settings.triggers
    drift = triggers.drift
    if drift is None or "concept_drift" in names_in(triggers.when):
        return None
    signals = firing("realised_loss") | firing("challenger_gain") | firing("window_growth")
    own = no_rollout() & cooldown(seconds(drift.cooldown)) & budget(drift.budget, seconds(drift.period))
    return signals & own & budget(triggers.budget, seconds(triggers.period))


def rollout_rules(settings: Settings, *, wall: bool = True) -> RolloutRules:
    """Return the rules of rollouts."""
    deployment = settings.deployment
    return RolloutRules(
        strategy=deployment.strategy,
        steps=deployment.steps,
        split=deployment.split,
        alpha=deployment.alpha,
        minimum_labels=deployment.minimum_labels,
        max_days=deployment.max_days,
        block=seconds(settings.monitoring.block),
        by_key=deployment.sticky_by is not None,
        affected=deployment.labels == "affected",
        max_latency_ratio=deployment.max_latency_ratio if wall else None,
        max_disparity_increase=deployment.max_disparity_increase,
        sensitive=deployment.sensitive,
        slices=deployment.slices,
    )


def _watch(workspace: Workspace, state: WatchState) -> Watch:
    deployment = workspace.settings.deployment
    scope = Scope(deployment.slices, deployment.sensitive, deployment.labels == "independent")
    return Watch(Reader(workspace.journal), deployment.minimum_coverage, state, scope=scope)
