"""The plan file, made anew from the store's rows: whatever crashed in between, the file says what the rows say."""

from __future__ import annotations

import sqlalchemy as sa

from everloop import registry, store
from everloop.errors import EverloopError
from everloop.loop.workspace import Workspace
from everloop.rollouts import ACTIVE
from everloop.serving.plan import read_plan, write_plan
from everloop.types import Plan, Variant

__all__ = ["current_plan", "next_generation", "publish", "set_levels"]

LEVELS = "levels"


def publish(workspace: Workspace) -> Plan | None:
    """Write the plan that the store's rows describe; returns it, or None while there is no champion."""
    plan = current_plan(workspace)
    if plan is None:
        return None
    if _written(workspace) != plan:
        write_plan(workspace.plan, plan)
    return plan


def current_plan(workspace: Workspace) -> Plan | None:
    """Return the plan that follows from the champion alias and the rollout under way."""
    with workspace.store.read() as connection:
        champion = registry.alias(connection, workspace.name, "champion")
        if champion is None:
            return None
        active = (
            connection.execute(sa.select(store.rollout).where(store.rollout.c.status.in_(ACTIVE))).mappings().first()
        )
        generation = connection.execute(
            sa.select(store.state.c.value).where(store.state.c.name == "plan_generation")
        ).scalar()
        levels = connection.execute(sa.select(store.state.c.value).where(store.state.c.name == LEVELS)).scalar() or {}
        since, variants = 0.0, []
        if active:
            bundle = registry.get(connection, workspace.name, active["candidate"])["bundle"]
            share = float(active["state"]["share"])
            level = tuple(levels.get(active["candidate"], ()))
            variants.append(Variant(active["candidate"], bundle, "candidate", share, level))
            since = active["started"]
        bundle = registry.get(connection, workspace.name, champion)["bundle"]
        share, level = 1.0 - sum(v.weight for v in variants), tuple(levels.get(champion, ()))
        variants.insert(0, Variant(champion, bundle, "champion", share, level))
    return Plan(
        generation=generation or 0,
        model=workspace.name,
        variants=tuple(variants),
        since=since,
        sticky_by=workspace.settings.deployment.sticky_by,
    )


def set_levels(connection: store.Connection, levels: dict[str, list[float]]) -> None:
    """Store what corrects the answers of each version from now on; a new generation of the plan carries it."""
    where = store.state.c.name == LEVELS
    if connection.execute(store.state.update().where(where).values(value=levels)).rowcount == 0:
        connection.execute(store.state.insert().values(name=LEVELS, value=levels))
    next_generation(connection)


def _written(workspace: Workspace) -> Plan | None:
    """Return the plan that the file holds; a file that is missing or damaged is written anew."""
    try:
        return read_plan(workspace.plan)
    except EverloopError:
        return None


def next_generation(connection: store.Connection) -> None:
    """Count one change of the plan, in the transaction that changes it."""
    query = sa.select(store.state.c.value).where(store.state.c.name == "plan_generation")
    generation = connection.execute(query).scalar()
    if generation is None:
        connection.execute(store.state.insert().values(name="plan_generation", value=1))
    else:
        where = store.state.c.name == "plan_generation"
        connection.execute(store.state.update().where(where).values(value=generation + 1))
