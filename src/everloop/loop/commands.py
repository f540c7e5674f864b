"""Commands are events: posted to the store by whoever asks, carried out once by the controller."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from everloop import store
from everloop.store import Connection, Store
from everloop.types import Event, as_json

__all__ = [
    "APPROVE",
    "ASKED",
    "CLOCK",
    "DEPLOY",
    "PROMOTE",
    "RETRAIN",
    "ROLLBACK",
    "conclude",
    "finish",
    "post",
    "put",
    "result",
    "waiting",
]

CLOCK = "everloop.clock"
"""`time` has come: with `--clock=event` the controller looks only then (a replay owns the clock)."""

RETRAIN, DEPLOY, APPROVE = "everloop.retrain", "everloop.deploy", "everloop.approve"
PROMOTE, ROLLBACK = "everloop.promote", "everloop.rollback"
ASKED = (RETRAIN, DEPLOY, APPROVE, PROMOTE, ROLLBACK)
"""What a person may ask for: `data` holds a `reason`, a `version` where one is meant, and a `strategy` to deploy by."""


def post(target: Store, event: Event) -> bool:
    """Store an event and return whether it is new; one that is there already (same id) is left alone."""
    with target.begin() as connection:
        return put(connection, event)


def put(connection: Connection, event: Event) -> bool:
    """Store an event in a transaction, as `post` does."""
    known = connection.execute(sa.select(store.event.c.id).where(store.event.c.id == event.id)).scalar()
    if known is None:
        connection.execute(store.event.insert().values(**as_json(event), status="new"))
    return known is None


def waiting(target: Store, type: str) -> list[Event]:
    """Return the events of a type that are not carried out yet, oldest first."""
    columns = [store.event.c[name] for name in Event.__struct_fields__]
    query = sa.select(*columns).where(store.event.c.status == "new", store.event.c.type == type)
    return [Event(**row) for row in target.rows(query.order_by(store.event.c.time, store.event.c.id))]


def finish(target: Store, id: str, outcome: dict[str, Any]) -> None:
    """Mark an event as carried out, with what came of it."""
    with target.begin() as connection:
        conclude(connection, id, outcome)


def conclude(connection: Connection, id: str, outcome: dict[str, Any]) -> None:
    """Mark an event as carried out, in the transaction that carries it out."""
    values = {"status": "done", "result": outcome}
    connection.execute(store.event.update().where(store.event.c.id == id).values(**values))


def result(target: Store, id: str) -> dict[str, Any] | None:
    """Return what came of an event, or None while it waits."""
    rows = target.rows(sa.select(store.event.c.result).where(store.event.c.id == id, store.event.c.status == "done"))
    return rows[0]["result"] if rows else None
