"""The rows of the loop: signals, decisions, rollouts, the controller's own state; each call joins a transaction."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import store
from everloop.rollouts import RolloutState
from everloop.store import Connection
from everloop.types import Decision, Signal, as_json

__all__ = [
    "behind",
    "close_decision",
    "load_state",
    "newest_reason",
    "open_decisions",
    "record_decision",
    "record_rollout",
    "record_signals",
    "save_state",
    "trained_before",
]


def record_signals(connection: Connection, signals: list[Signal]) -> None:
    """Store what the monitors said."""
    if signals:
        connection.execute(store.signal.insert(), [as_json(s) | {"firing": int(s.firing)} for s in signals])


def record_decision(connection: Connection, decision: Decision, *, status: str, run: str | None = None) -> str:
    """Store a decision and return its id (`d-1`, `d-2`, ...); an `open` one is carried out exactly once."""
    number = (connection.execute(sa.select(sa.func.max(store.decision.c.number))).scalar() or 0) + 1
    row = as_json(decision) | {"id": f"d-{number}", "number": number, "status": status, "run": run}
    connection.execute(store.decision.insert().values(**row))
    _tell(connection, "decision", decision.time, row)
    return str(row["id"])


def trained_before(connection: Connection) -> bool:
    """Tell whether a retraining was carried out to its end, whatever its gate said."""
    table = store.decision.c
    query = sa.select(table.id).where(table.status == "done", table.response == "retrain").limit(1)
    return connection.execute(query).scalar() is not None


def newest_reason(connection: Connection) -> str | None:
    """Return why the newest decision was made, None before the first."""
    query = sa.select(store.decision.c.reason).order_by(store.decision.c.number.desc()).limit(1)
    found: str | None = connection.execute(query).scalar()
    return found


def open_decisions(connection: Connection) -> list[dict[str, Any]]:
    """Return the decisions that are not carried out yet, oldest first."""
    query = sa.select(store.decision).where(store.decision.c.status == "open").order_by(store.decision.c.number)
    return [dict(row) for row in connection.execute(query).mappings()]


def behind(connection: Connection, run: str) -> dict[str, str | None]:
    """Return the decision that a run carries out and the first event it answers; None where nobody decided on it."""
    query = sa.select(store.decision.c.id, store.decision.c.events).where(store.decision.c.run == run)
    found = connection.execute(query).first()
    return {"decision": found.id, "event": next(iter(found.events), None)} if found else {}


def close_decision(connection: Connection, id: str, status: str, outcome: dict[str, Any]) -> None:
    """Mark a decision `done` or `failed`, and add what came of it to its evidence."""
    where = store.decision.c.id == id
    evidence = connection.execute(sa.select(store.decision.c.evidence).where(where)).scalar_one()
    values = {"status": status, "evidence": evidence | {"outcome": outcome}}
    connection.execute(store.decision.update().where(where).values(**values))


def record_rollout(
    connection: Connection, state: RolloutState, now: float, *, id: str | None = None, decision: str | None = None
) -> str:
    """Store a new rollout (`r-1`, `r-2`, ...) or what became of one; returns its id."""
    values: dict[str, Any] = {
        "status": state.status,
        "state": as_json(state),
        "verdict": as_json(state.verdict) if state.verdict else None,
        "ended": None if state.active else now,
    }
    if id is not None:
        connection.execute(store.rollout.update().where(store.rollout.c.id == id).values(**values))
    else:
        count = connection.execute(sa.select(sa.func.count()).select_from(store.rollout)).scalar_one()
        id = f"r-{count + 1}"
        values |= {"champion": state.champion, "candidate": state.candidate, "started": state.started}
        connection.execute(store.rollout.insert().values(id=id, decision=decision, **values))
    if not state.active or decision:
        reason = (
            state.verdict.reason if state.verdict else f"{state.share:.0%} of the traffic, judged on {_basis(state)}"
        )
        told = {"id": id, "status": state.status, "candidate": state.candidate, "reason": reason}
        _tell(connection, "rollout", now, told)
    return id


def _basis(state: RolloutState) -> str:
    return "the labels of its own answers" if state.randomised else "paired labels"


def load_state(connection: Connection, name: str, kind: type[Any]) -> Any:
    """Return the state stored under `name`, or a new one."""
    data = connection.execute(sa.select(store.state.c.data).where(store.state.c.name == name)).scalar()
    return msgspec.msgpack.decode(data, type=kind) if data else kind()


def save_state(connection: Connection, name: str, state: Any) -> None:
    """Replace the state stored under `name`."""
    data = msgspec.msgpack.encode(state)
    where = store.state.c.name == name
    if connection.execute(store.state.update().where(where).values(data=data)).rowcount == 0:
        connection.execute(store.state.insert().values(name=name, value={}, data=data))


def _tell(connection: Connection, kind: str, time: float, payload: dict[str, Any]) -> None:
    connection.execute(store.outbox.insert().values(kind=kind, time=time, payload=payload))
