"""The versions of models: each function joins the caller's transaction and tells the outbox what changed."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa

from everloop import store
from everloop.checks import Verdict
from everloop.errors import CheckError, NotFoundError, UsageError, close_match
from everloop.store import Connection
from everloop.types import Json, as_json

__all__ = ["Stage", "alias", "drop_alias", "get", "latest", "list_versions", "register", "set_alias", "set_stage"]

Stage = Literal["staged", "candidate", "production", "archived", "rejected"]
_version = store.model_version


def register(
    connection: Connection,
    *,
    model: str,
    bundle: str,
    sha256: str,
    run: str,
    data_version: str,
    window: Mapping[str, Json],
    metrics: Mapping[str, Json],
    commit: str | None,
    verdict: Verdict | None,
    time: float,
) -> str:
    """Add a version, staged, and return its id: `v1`, `v2`, ... in the order of the store, whatever the model.

    What it is (bundle, sha256, run, data version) never changes. The same bundle of the same run again is the same
    version. Raises UsageError where the bundle's place already belongs to a version with another sha256.
    """
    if known := _registered(connection, model, bundle, sha256, run):
        return known
    number = (connection.execute(sa.select(sa.func.max(_version.c.number))).scalar() or 0) + 1
    row = {
        "id": f"v{number}",
        "model": model,
        "number": number,
        "bundle": bundle,
        "sha256": sha256,
        "run": run,
        "data_version": data_version,
        "commit": commit,
        "stage": "staged",
        "window": dict(window),
        "metrics": dict(metrics),
        "verdict": as_json(verdict) if verdict else None,
        "created": time,
    }
    connection.execute(_version.insert().values(**row))
    _tell(connection, "model_version", time, {"change": "registered", **row})
    return str(row["id"])


def get(connection: Connection, model: str, version: str) -> dict[str, Any]:
    """Return a version's row; raises NotFoundError with the close match."""
    where = (_version.c.model == model, _version.c.id == version)
    row = connection.execute(sa.select(_version).where(*where)).mappings().one_or_none()
    if row is None:
        query = sa.select(_version.c.id).where(_version.c.model == model).order_by(_version.c.number)
        known = list(connection.execute(query).scalars())
        do = f"the newest is {known[-1]}" if known else "`everloop run` trains the first"
        raise NotFoundError(f"version of model {model!r}", version, known, do)
    return dict(row)


def latest(connection: Connection, model: str, stage: Stage | None = None) -> dict[str, Any] | None:
    """Return the newest version's row (of one stage), or None where there is none."""
    rows = list_versions(connection, model, stage)
    return rows[-1] if rows else None


def list_versions(connection: Connection, model: str, stage: Stage | None = None) -> list[dict[str, Any]]:
    """Return the rows of all versions of a model (of one stage), oldest first."""
    query = sa.select(_version).where(_version.c.model == model).order_by(_version.c.number)
    if stage is not None:
        query = query.where(_version.c.stage == stage)
    return [dict(row) for row in connection.execute(query).mappings()]


def set_stage(connection: Connection, model: str, version: str, stage: Stage, time: float | None = None) -> None:
    """Move a version to another stage at event time `time`; without it, at the newest time its rows know.

    Raises NotFoundError for an unknown version, UsageError for an unknown stage.
    """
    stages = typing.get_args(Stage)
    if stage not in stages:
        raise UsageError(f"no stage {stage!r}{close_match(stage, stages)}: one of {', '.join(stages)}")
    row = get(connection, model, version)
    if row["stage"] == stage:
        return
    connection.execute(_version.update().where(_version.c.id == row["id"]).values(stage=stage))
    when = _newest_time(connection, row) if time is None else time
    change = {"change": "stage", "id": version, "model": model, "stage": stage, "before": row["stage"]}
    _tell(connection, "model_version", when, change)


def set_alias(connection: Connection, model: str, name: str, version: str, verdict: Verdict, time: float) -> None:
    """Let `name` (champion, candidate) stand for a version from event time `time` on, because of a passed verdict.

    Raises CheckError for a verdict that is not passed, NotFoundError for an unknown version.
    """
    get(connection, model, version)
    if not verdict.passed:
        raise CheckError(
            f"{version} of model {model!r} cannot be its {name}: "
            f"the verdict of {verdict.check!r} is {verdict.outcome} ({verdict.reason})"
        )
    before = alias(connection, model, name)
    values = {"version": version, "verdict": as_json(verdict), "updated": time}
    if before is None:
        connection.execute(store.alias.insert().values(model=model, name=name, **values))
    else:
        where = (store.alias.c.model == model, store.alias.c.name == name)
        connection.execute(store.alias.update().where(*where).values(**values))
    _tell(connection, "alias", time, {"model": model, "name": name, "before": before, **values})


def drop_alias(connection: Connection, model: str, name: str, time: float) -> None:
    """Let `name` stand for nothing from event time `time` on: a candidate's rollout has ended."""
    before = alias(connection, model, name)
    if before is None:
        return
    connection.execute(store.alias.delete().where(store.alias.c.model == model, store.alias.c.name == name))
    _tell(connection, "alias", time, {"model": model, "name": name, "before": before, "version": None})


def alias(connection: Connection, model: str, name: str) -> str | None:
    """Return the version that `name` stands for, or None."""
    where = (store.alias.c.model == model, store.alias.c.name == name)
    return connection.execute(sa.select(store.alias.c.version).where(*where)).scalar()


def _registered(connection: Connection, model: str, bundle: str, sha256: str, run: str) -> str | None:
    query = sa.select(_version).where(_version.c.bundle == bundle).order_by(_version.c.number)
    for row in connection.execute(query).mappings():
        if row["sha256"] != sha256:
            raise UsageError(
                f"the bundle at {bundle} is that of {row['id']}, with another content: give it its own place"
            )
        if row["model"] == model and row["run"] == run:
            return str(row["id"])
    return None


def _newest_time(connection: Connection, row: Mapping[str, Any]) -> float:
    query = sa.select(sa.func.max(store.alias.c.updated)).where(store.alias.c.model == row["model"])
    return max(float(row["created"]), connection.execute(query).scalar() or 0.0)


def _tell(connection: Connection, kind: str, time: float, payload: Mapping[str, Json]) -> None:
    connection.execute(store.outbox.insert().values(kind=kind, time=time, payload=dict(payload)))
