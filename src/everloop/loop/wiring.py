"""Builds the loop of one project from its settings: the only place where its parts meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from everloop import git, registry
from everloop.bundles import trusted
from everloop.checks import Check
from everloop.data import Schema, event_times, record
from everloop.evaluation import build_gate, needs_approval
from everloop.journal import Reader, end
from everloop.loop.controller import Controller, Developed
from everloop.loop.dataset import repository
from everloop.loop.retraining import Ask, Champion, Outcome, Where, bundle_of, ingest, retrain
from everloop.loop.schemas import frozen_schema, schema_of
from everloop.loop.watch import Scorer, Watch, WatchState
from everloop.loop.workspace import Workspace
from everloop.pipelines import Artifact, Engine, IsolatedExecutor, LocalExecutor, Progress, fingerprint
from everloop.pipelines.executors import Executor
from everloop.rollouts import RolloutRules
from everloop.settings import Settings, seconds
from everloop.training import forget_modules
from everloop.training.guards import Policies
from everloop.triggers import TriggerState, budget, cooldown, firing, no_rollout
from everloop.types import as_json

__all__ = ["ask_of", "build_controller", "condition", "developer", "isolated", "rollout_rules"]

Report = Callable[[Progress], None]


def isolated(workspace: Workspace) -> IsolatedExecutor:
    """Return what runs each step of a retraining in a process of its own; to be closed."""
    return IsolatedExecutor(workspace.artifacts)


def build_controller(
    workspace: Workspace,
    *,
    training_time: Callable[[float], float],
    report: Report,
    executor: Executor | None = None,
) -> Controller:
    """Return the controller of a project; without an `executor` its steps run in this process."""
    settings = workspace.settings
    build_gate(settings.gates)  # a wrong gate is told now, not after the first training
    return Controller(
        workspace,
        lambda state: _watch(workspace, state),
        developer(workspace, report, executor or LocalExecutor(workspace.artifacts)),
        condition(settings),
        rollout_rules(settings),
        lambda: Scorer(schema_of(workspace)),
        block=seconds(settings.monitoring.block),
        interval=seconds(settings.monitoring.interval),
        approval=needs_approval(settings.gates),
        training_time=training_time,
    )


def condition(settings: Settings) -> Check[TriggerState] | None:
    """Return when concept drift calls for a retraining, or None where the project file turns it off."""
    drift = settings.triggers.drift
    if drift is None:
        return None
    signals = firing("realised_loss") | firing("challenger_gain")
    return signals & no_rollout() & cooldown(seconds(drift.cooldown)) & budget(drift.budget, seconds(drift.period))


def rollout_rules(settings: Settings) -> RolloutRules:
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
    )


def developer(workspace: Workspace, report: Report, executor: Executor) -> Callable[[str, float], Developed]:
    """Return what runs the retraining pipeline: the run of an id goes on where it was killed."""

    def develop(run: str, decided: float) -> Developed:
        forget_modules(workspace.folder)
        engine = Engine(workspace.store, workspace.artifacts, executor, workspace.folder, lambda: decided)
        commit = git.describe(workspace.folder)
        (champion, bundle), schema = _champion(workspace), frozen_schema(workspace)
        where = _where(workspace, decided)
        data = engine.run(
            ingest, {"where": where, "schema": schema}, run_id=f"{run}-data", commit=commit, on_progress=report
        )
        rows, frozen = data.outputs["rows"], data.outputs["schema"]
        version = _record(workspace, data.artifacts["rows"], rows, frozen, decided)
        ask = ask_of(workspace, first=champion is None)
        folder = workspace.bundles / run
        arguments: dict[str, Any] = {
            "rows": data.artifacts["rows"],
            "schema": frozen,
            "ask": ask,
            "champion": champion,
            "bundle": bundle,
            "policies": Policies(**as_json(workspace.settings.guards)),
        }
        done = Outcome(**engine.run(retrain, arguments, run_id=run, commit=commit, on_progress=report).outputs)
        told = {"name": workspace.name, "run": run, "data_version": version, "commit": commit, "created": decided}
        sha256 = bundle_of(done, frozen, folder, workspace.key, **told)
        return Developed(
            run=run,
            bundle=str(folder.relative_to(workspace.folder))
            if folder.is_relative_to(workspace.folder)
            else str(folder),
            sha256=sha256,
            data_version=version,
            commit=commit,
            window=as_json(done.choice),
            metrics=done.metrics,
            verdict=done.verdict,
            baseline=tuple(done.baseline),
        )

    return develop


def _where(workspace: Workspace, decided: float) -> Where:
    data = workspace.settings.data
    return Where(
        folder=str(workspace.folder),
        source=data.source,
        features=workspace.settings.training.features,
        target=data.target,
        time=data.time,
        task=data.task,
        journal=str(workspace.journal),
        until=decided,
        journal_end=end(workspace.journal),
    )


def ask_of(workspace: Workspace, *, first: bool) -> Ask:
    """Return what the project file asks to be trained."""
    training, allowed = workspace.settings.training, workspace.settings.serving.native
    return Ask(
        model=training.model,
        parameters=training.parameters,
        window=training.window,
        first=first,
        seed=training.seed,
        horizon=seconds(training.horizon),
        block=seconds(workspace.settings.monitoring.block),
        gates=workspace.settings.gates,
        code=fingerprint(training.model, workspace.folder),
        runtime=training.runtime,
        native=list(allowed) if allowed is not None else None,
    )


def _champion(workspace: Workspace) -> tuple[Champion, Path] | tuple[None, None]:
    """Return whom to beat, and its bundle."""
    with workspace.store.read() as connection:
        version = registry.alias(connection, workspace.name, "champion")
        if version is None:
            return None, None
        row = registry.get(connection, workspace.name, version)
    keys = [key.text for key in trusted(workspace.keys)]
    return Champion(version, keys, float(row["window"]["until"])), workspace.path(row["bundle"])


def _record(workspace: Workspace, artifact: Artifact, rows: pd.DataFrame, schema: Schema, time: float) -> str:
    """Make the training table a data version, in the store and with DVC, before anything is trained on it."""
    times = event_times(rows, schema.time)
    with workspace.store.begin() as connection:
        version = record(
            connection,
            artifact=artifact.id,
            rows=len(rows),
            start=float(times[0]),
            end=float(times[-1]),
            origin=workspace.settings.data.source,
            time=time,
        )
    if known := repository(workspace):
        known.keep(version, ".parquet", workspace.artifacts.read(artifact))
    return version


def _watch(workspace: Workspace, state: WatchState) -> Watch:
    coverage = workspace.settings.deployment.minimum_coverage
    return Watch(Reader(workspace.journal), coverage, state)
