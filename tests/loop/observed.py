"""A small project whose store holds what a loop writes, with every metric of the loop to show."""

from __future__ import annotations

from pathlib import Path

from tests.projects import write_project

from everloop import store
from everloop.loop.records import record_decision, record_rollout, record_signals
from everloop.loop.workspace import Workspace, open_workspace
from everloop.rollouts import RolloutRules, begin
from everloop.types import Decision, Signal


def observed(folder: Path, more: str = "") -> Workspace:
    """Return the opened workspace of a new project, after some decisions, signals and rollouts."""
    write_project(folder, days=2)
    path = folder / "everloop.toml"
    path.write_text(path.read_text().replace("tensorboard = false", "tensorboard = true") + more)
    workspace = open_workspace(folder)
    write_rows(workspace)
    return workspace


def write_rows(workspace: Workspace) -> None:
    """Write rows as a controller does."""
    common = {"coverage": 0.75}
    signals = [
        Signal("realised_loss", 100.0, 4.0, 3.0, True, 0.0, 100.0, common),
        Signal("realised_loss", 200.0, 5.0, 3.0, True, 0.0, 200.0, common),
        Signal("estimated_loss", 200.0, 4.5, 3.0, True, 0.0, 200.0),
        Signal("data_drift:a", 200.0, 0.3, 0.1, True, 0.0, 200.0),
        Signal("data_drift:b", 200.0, 0.01, 0.1, False, 0.0, 200.0),
    ]
    rollout = begin("v1", "v2", 250.0, RolloutRules("canary", steps=(0.25,)))
    with workspace.store.begin() as connection:
        record_signals(connection, signals)
        record_decision(connection, Decision(150.0, "retrain", "drift"), status="done", run="run-1")
        record_decision(connection, Decision(250.0, "retrain", "drift"), status="open", run="run-2")
        record_rollout(connection, rollout, 250.0, decision="d-2")
        alias = {"model": "toy", "name": "champion", "version": "v1", "verdict": {}, "updated": 160.0}
        connection.execute(store.alias.insert().values(**alias))
        version = {
            "id": "v1", "model": "toy", "number": 1, "bundle": "b", "sha256": "s", "run": "run-1", "created": 160.0,
            "data_version": "data-1", "stage": "production", "window": {}, "metrics": {},
        }  # fmt: skip
        connection.execute(store.model_version.insert().values(**version))
        data = {"id": "data-1", "artifact": "a", "rows": 24, "start": 0.0, "end": 90.0, "origin": "o", "created": 95.0}
        connection.execute(store.data_version.insert().values(**data))
        connection.execute(
            store.run.insert().values(id="run-1", pipeline="p", status="finished", parameters={}, started=1.0)
        )
        connection.execute(store.outbox.insert().values(kind="run", time=1.0, payload={"id": "run-1"}))
