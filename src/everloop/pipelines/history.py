"""What the store knows of runs, whole: executions with what went in and came out, for other systems' lineage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import store as tables
from everloop.store import Store

__all__ = ["KnownArtifact", "KnownExecution", "KnownRun", "runs_of"]


class KnownArtifact(msgspec.Struct, frozen=True):
    """One artifact; `made_by` is the "pipeline.step.output" that made it first, empty where it was handed to a run."""

    id: str
    format: str
    uri: str
    size: int
    created: float
    made_by: str = ""


class KnownExecution(msgspec.Struct, frozen=True):
    """One try at a step: `status` is running, finished, failed or cached; inputs and outputs by name."""

    id: int
    step: str
    key: str
    status: str
    started: float
    finished: float | None
    error: str | None
    inputs: dict[str, KnownArtifact]
    outputs: dict[str, KnownArtifact]


class KnownRun(msgspec.Struct, frozen=True):
    """One run of a pipeline and its executions, in the order of their beginning."""

    id: str
    pipeline: str
    status: str
    started: float
    finished: float | None
    commit: str | None
    error: str | None
    parameters: dict[str, Any]
    executions: list[KnownExecution]


def runs_of(store: Store, run: str | None = None) -> list[KnownRun]:
    """Return all runs, or the one of that id, oldest first."""
    row, execution, link, artifact = tables.run, tables.execution, tables.link, tables.artifact
    chosen = [row.c.id == run] if run else []
    runs = store.rows(sa.select(row).where(*chosen).order_by(row.c.started, row.c.id))
    of_run = [execution.c.run == run] if run else []
    executions = store.rows(sa.select(execution).where(*of_run).order_by(execution.c.id))
    query = (
        sa.select(link.c.execution, link.c.direction, link.c.name, artifact)
        .join(artifact, artifact.c.id == link.c.artifact)
        .join(execution, execution.c.id == link.c.execution)
        .where(*of_run)
        .order_by(link.c.id)
    )
    links: dict[tuple[int, str], dict[str, KnownArtifact]] = {}
    makers = _makers(store)
    for found in store.rows(query):
        known = {name: found[name] for name in ("id", "format", "uri", "size", "created")}
        named = links.setdefault((found["execution"], found["direction"]), {})
        named[found["name"]] = KnownArtifact(**known, made_by=makers.get(found["id"], ""))
    by_run: dict[str, list[KnownExecution]] = {}
    for one in executions:
        by_run.setdefault(one["run"], []).append(_execution(one, links))
    names = ("id", "pipeline", "status", "started", "finished", "commit", "error", "parameters")
    return [KnownRun(**{name: r[name] for name in names}, executions=by_run.get(r["id"], [])) for r in runs]


def _execution(row: Mapping[str, Any], links: Mapping[tuple[int, str], dict[str, KnownArtifact]]) -> KnownExecution:
    status = "cached" if row["cached_from"] is not None else row["status"]
    told = {name: row[name] for name in ("id", "step", "key", "started", "finished", "error")}
    inputs, outputs = links.get((row["id"], "input"), {}), links.get((row["id"], "output"), {})
    return KnownExecution(**told, status=status, inputs=inputs, outputs=outputs)


def _makers(store: Store) -> dict[str, str]:
    """Return what made each artifact first."""
    link, execution, run = tables.link, tables.execution, tables.run
    query = (
        sa.select(link.c.artifact, run.c.pipeline, execution.c.step, link.c.name)
        .join(execution, execution.c.id == link.c.execution)
        .join(run, run.c.id == execution.c.run)
        .where(link.c.direction == "output", execution.c.cached_from.is_(None))
        .order_by(link.c.id.desc())
    )
    return {row["artifact"]: f"{row['pipeline']}.{row['step']}.{row['name']}" for row in store.rows(query)}
