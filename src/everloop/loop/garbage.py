"""Throws away artifacts that nothing needs any more, and never what a version that may serve was made of."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from everloop import store as tables
from everloop.loop.lease import lease
from everloop.loop.workspace import Workspace
from everloop.pipelines.garbage import unused
from everloop.tracking.record import DATA_RUN

__all__ = ["Collected", "collect"]

LIVE = ("staged", "candidate", "production")


class Collected(msgspec.Struct, frozen=True):
    """How many artifacts went, or would go, and their bytes."""

    artifacts: int
    bytes: int
    removed: bool


def collect(workspace: Workspace, before: float, most: int | None = None, *, remove: bool = True) -> Collected:
    """Remove artifacts that were used last before a time, and more until `most` bytes are left.

    What the runs of staged, candidate and serving versions, and of those that an alias names, made or used stays. It
    holds the project's lease meanwhile: raises `BusyError` beside a running controller.
    """
    gone = unused(workspace.store, workspace.artifacts, _runs(workspace), before, most)
    if remove:
        with lease(workspace.path(workspace.settings.storage.lease)):
            gone = unused(workspace.store, workspace.artifacts, _runs(workspace), before, most)
            for artifact in gone:
                workspace.artifacts.remove(artifact)
    return Collected(len(gone), sum(artifact.size for artifact in gone), remove)


def _runs(workspace: Workspace) -> list[str]:
    version, alias = tables.model_version.c, tables.alias.c
    named = sa.select(alias.version).where(alias.model == workspace.name)
    query = sa.select(version.run).where(sa.or_(version.stage.in_(LIVE), version.id.in_(named)))
    runs = [str(row["run"]) for row in workspace.store.rows(query)]
    return [one for run in runs for one in (run, f"{run}{DATA_RUN}")]
