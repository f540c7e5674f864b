"""Where an artifact comes from and what was made of it, over the links between artifacts and executions."""

from __future__ import annotations

from typing import Literal

import msgspec
import sqlalchemy as sa

from everloop import store as tables
from everloop.errors import NotFoundError
from everloop.store import Connection, Store

__all__ = ["Made", "downstream", "upstream"]

Direction = Literal["input", "output"]


class Made(msgspec.Struct, frozen=True):
    """An artifact and an execution that made it; the last three are None where it was handed to a run."""

    artifact: str
    execution: int | None = None
    step: str | None = None
    run: str | None = None


def upstream(store: Store, artifact_id: str) -> list[Made]:
    """Return the artifact and all that went into it, nearest first; executions that took over a result stay out.

    Raises NotFoundError for an artifact that the store does not know.
    """
    return _walk(store, artifact_id, from_direction="output", to_direction="input")


def downstream(store: Store, artifact_id: str) -> list[Made]:
    """Return the artifact and all that was made of it, nearest first; raises NotFoundError."""
    return _walk(store, artifact_id, from_direction="input", to_direction="output")


def _walk(store: Store, start: str, from_direction: Direction, to_direction: Direction) -> list[Made]:
    with store.read() as connection:
        _require(connection, start)
        seen, level = {start: None}, [start]
        while level:
            reached = _neighbours(connection, level, from_direction, to_direction)
            level = [artifact for artifact in reached if artifact not in seen]
            seen |= dict.fromkeys(level)
        return _makers(connection, list(seen))


def _neighbours(
    connection: Connection, artifacts: list[str], from_direction: Direction, to_direction: Direction
) -> list[str]:
    """Return the artifacts on the other side of the executions that these belong to, in their order."""
    here, there = tables.link.alias(), tables.link.alias()
    query = (
        sa.select(there.c.artifact)
        .join(here, here.c.execution == there.c.execution)
        .where(here.c.artifact.in_(artifacts), here.c.direction == from_direction, there.c.direction == to_direction)
        .order_by(there.c.id)
    )
    return list(dict.fromkeys(connection.execute(query).scalars()))


def _makers(connection: Connection, artifacts: list[str]) -> list[Made]:
    link, execution = tables.link, tables.execution
    query = (
        sa.select(link.c.artifact, execution.c.id, execution.c.step, execution.c.run)
        .join(execution, execution.c.id == link.c.execution)
        .where(link.c.artifact.in_(artifacts), link.c.direction == "output", execution.c.cached_from.is_(None))
        .order_by(execution.c.id)
    )
    makers: dict[str, list[Made]] = {artifact: [] for artifact in artifacts}
    for artifact, id, step, run in connection.execute(query):
        makers[artifact].append(Made(artifact, id, step, run))
    return [made for artifact in artifacts for made in makers[artifact] or [Made(artifact)]]


def _require(connection: Connection, artifact: str) -> None:
    known = connection.execute(sa.select(tables.artifact.c.id).where(tables.artifact.c.id == artifact)).scalar()
    if known is None:
        near = sa.select(tables.artifact.c.id).where(tables.artifact.c.id.startswith(artifact[:8])).limit(10)
        raise NotFoundError("artifact", artifact, connection.execute(near).scalars())
