"""Which artifacts may go: what no run that is to be kept has to do with, the longest unused first."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from everloop import store as tables
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.store import Store

__all__ = ["unused"]


def unused(
    store: Store, artifacts: ArtifactStore, keep: Collection[str], before: float, most: int | None = None
) -> list[Artifact]:
    """Return the artifacts that were used last before a time, and more until no more than `most` bytes are left.

    None that a run in `keep` or one under way made or used, whatever its age. Rows of executions and links stay,
    so lineage does; a step whose result is gone is computed again.
    """
    known = [row for row in _rows(store, keep) if artifacts.exists(_artifact(row))]
    free = sorted((row for row in known if not row["kept"]), key=lambda row: (row["used"], row["id"]))
    total, gone = sum(row["size"] for row in known), []
    for row in free:
        if row["used"] >= before and (most is None or total <= most):
            break
        gone.append(_artifact(row))
        total -= row["size"]
    return gone


def _rows(store: Store, keep: Collection[str]) -> list[dict[str, Any]]:
    """Return each artifact with the time of its last use, and whether a run holds it."""
    artifact, link, execution, run = tables.artifact, tables.link, tables.execution, tables.run
    used = sa.func.coalesce(execution.c.finished, execution.c.started)
    held = sa.or_(run.c.status == "running", run.c.id.in_(list(keep)))
    query = (
        sa.select(
            artifact,
            sa.func.coalesce(sa.func.max(used), artifact.c.created).label("used"),
            sa.func.coalesce(sa.func.max(sa.case((held, 1), else_=0)), 0).label("kept"),
        )
        .outerjoin(link, link.c.artifact == artifact.c.id)
        .outerjoin(execution, execution.c.id == link.c.execution)
        .outerjoin(run, run.c.id == execution.c.run)
        .group_by(artifact.c.id)
    )
    return store.rows(query)


def _artifact(row: dict[str, Any]) -> Artifact:
    return Artifact(row["id"], row["format"], row["uri"], row["size"])
