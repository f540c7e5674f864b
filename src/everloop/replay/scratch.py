"""A project to replay in: the user's code and settings, with state, data and clock of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from everloop.loop.workspace import Workspace
from everloop.replay.history import History
from everloop.settings import Settings, Storage

__all__ = ["scratch_workspace"]


def scratch_workspace(project: Path, settings: Settings, history: History, state: Path) -> Workspace:
    """Return a workspace of the project whose source is what `history` knows at the start; `state` is made anew."""
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    state = state.resolve()
    history.known.to_csv(state / "known.csv", index=False)
    storage = Storage(
        store=f"sqlite:///{state / 'store.db'}",
        artifacts=str(state / "artifacts"),
        bundles=str(state / "bundles"),
        journal=str(state / "journal"),
        keys=str(state / "keys"),
        plan=str(state / "plan.json"),
        lease=str(state / "controller.lease"),
    )
    data = msgspec.structs.replace(settings.data, source=str(state / "known.csv"))
    return Workspace(project, msgspec.structs.replace(settings, data=data, storage=storage))
