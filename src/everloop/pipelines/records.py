"""The rows of runs: each function joins the caller's transaction, and tells the outbox what became of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import store
from everloop.errors import UsageError
from everloop.pipelines.artifacts import Artifact
from everloop.pipelines.executors import Usage
from everloop.store import Connection

__all__ = [
    "Finished",
    "fail_step",
    "failed_in_run",
    "finish_run",
    "finish_step",
    "finished_in_run",
    "finished_with_key",
    "start_run",
    "start_step",
    "status_of",
    "take_over",
]


class Finished(msgspec.Struct, frozen=True):
    """One finished execution and what it made."""

    id: int
    key: str
    outputs: dict[str, Artifact]


_INSERTS: dict[tuple[str, sa.Table], Any] = {}
_CUT_OFF = store.execution.update().where(
    store.execution.c.run == sa.bindparam("of_run"),
    store.execution.c.step == sa.bindparam("of_step"),
    store.execution.c.status == "running",
)
_ADD_EXECUTION = store.execution.insert().returning(store.execution.c.id)
_ADD_LINK = store.link.insert()
_ADD_USAGE = store.usage.insert()
_FINISH = store.execution.update().where(store.execution.c.id == sa.bindparam("of")).values(status="finished")


def start_run(connection: Connection, row: Mapping[str, Any]) -> str | None:
    """Add a run, or go on with the one of that id; returns the status that it had before, None for a new one.

    Raises UsageError where the known run is another pipeline's or has other arguments.
    """
    if _insert_new(connection, store.run, {**row, "status": "running"}):
        _tell(connection, row["id"], row["started"])
        return None
    where = store.run.c.id == row["id"]
    known = connection.execute(sa.select(store.run).where(where)).mappings().one()
    if known["pipeline"] != row["pipeline"]:
        raise UsageError(f"run {row['id']} is one of pipeline {known['pipeline']!r}: take another run id")
    if known["parameters"] != row["parameters"]:
        raise UsageError(f"run {row['id']} was started with other arguments: use the same ones, or another run id")
    if known["status"] != "finished":
        connection.execute(store.run.update().where(where).values(status="running", finished=None, error=None))
        _tell(connection, row["id"], row["started"])
    return str(known["status"])


def finish_run(connection: Connection, run: str, time: float) -> None:
    """Mark a run as finished."""
    values = {"status": "finished", "finished": time, "error": None}
    connection.execute(store.run.update().where(store.run.c.id == run).values(**values))
    _tell(connection, run, time)


def start_step(
    connection: Connection,
    run: str,
    step: str,
    key: str,
    parts: Mapping[str, Any],
    inputs: Mapping[str, Artifact],
    time: float,
) -> int:
    """Add a running execution with its inputs and return its id; one that was cut off before it is marked so."""
    cut_off = {"status": "failed", "finished": time, "error": "cut off: the process that ran it ended"}
    connection.execute(_CUT_OFF, {"of_run": run, "of_step": step, **cut_off})
    row = {"run": run, "step": step, "key": key, "key_parts": parts, "status": "running", "started": time}
    execution = _add_execution(connection, row)
    _link(connection, execution, "input", inputs, time)
    return execution


def finish_step(
    connection: Connection,
    execution: int,
    outputs: Mapping[str, Artifact],
    time: float,
    usage: Usage | None = None,
) -> None:
    """Mark an execution as finished, with what it made and took."""
    connection.execute(_FINISH, {"of": execution, "finished": time})
    _link(connection, execution, "output", outputs, time)
    if usage is not None:
        connection.execute(_ADD_USAGE, {"execution": execution, **msgspec.structs.asdict(usage)})


def fail_step(
    connection: Connection, run: str, execution: int, reason: str, log: str, time: float, *, again: bool = False
) -> None:
    """Mark an execution as failed and, unless it is tried `again`, its run."""
    failed = (
        [(store.execution, execution, log)] if again else [(store.execution, execution, log), (store.run, run, reason)]
    )
    for table, id, error in failed:
        values = {"status": "failed", "finished": time, "error": error}
        connection.execute(table.update().where(table.c.id == id).values(**values))
    if not again:
        _tell(connection, run, time)


def take_over(
    connection: Connection,
    run: str,
    step: str,
    found: Finished,
    parts: Mapping[str, Any],
    inputs: Mapping[str, Artifact],
    time: float,
) -> int:
    """Add an execution that takes over the outputs of an earlier one; returns its id."""
    row: dict[str, Any] = {"run": run, "step": step, "key": found.key, "key_parts": parts, "status": "finished"}
    row |= {"cached_from": found.id, "started": time, "finished": time}
    execution = _add_execution(connection, row)
    _link(connection, execution, "input", inputs, time)
    _link(connection, execution, "output", found.outputs, time)
    return execution


def finished_in_run(connection: Connection, run: str) -> dict[str, Finished]:
    """Return the newest finished execution of each step of a run."""
    rows = connection.execute(_with_outputs(store.execution.c.run == run))
    return {row["step"]: found for row, found in reversed(_gather(rows))}


def finished_with_key(connection: Connection, key: str) -> list[Finished]:
    """Return the finished executions with that key that really ran, newest first."""
    rows = connection.execute(_WITH_KEY, {"of_key": key})
    return [found for _, found in _gather(rows)]


def status_of(store_: store.Store, run: str) -> str | None:
    """Return the status of a run, None for one that the store does not know."""
    rows = store_.rows(sa.select(store.run.c.status).where(store.run.c.id == run))
    return str(rows[0]["status"]) if rows else None


def failed_in_run(store_: store.Store, run: str) -> tuple[str, str] | None:
    """Return the step of a run that failed last and never finished, and why.

    Whatever the run's own status: another place may have begun a step of it since.
    """
    execution, later = store.execution.c, store.execution.alias()
    done = sa.exists().where(later.c.run == run, later.c.step == execution.step, later.c.status == "finished")
    query = (
        sa.select(execution.step, execution.error, store.run.c.error.label("reason"))
        .join(store.run, store.run.c.id == execution.run)
        .where(execution.run == run, execution.status == "failed", ~done)
        .order_by(execution.id.desc())
        .limit(1)
    )
    rows = store_.rows(query)
    if not rows:
        return None
    told = (rows[0]["error"] or "").strip().splitlines() or ["it does not say why"]
    return str(rows[0]["step"]), str(rows[0]["reason"] or told[-1])


def _with_outputs(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    execution, link, artifact = store.execution, store.link, store.artifact
    return (
        sa.select(execution.c.id.label("execution"), execution.c.key, execution.c.step, link.c.name, artifact)
        .join(link, (link.c.execution == execution.c.id) & (link.c.direction == "output"))
        .join(artifact, artifact.c.id == link.c.artifact)
        .where(execution.c.status == "finished", *where)
        .order_by(execution.c.id.desc())
    )


_WITH_KEY = _with_outputs(store.execution.c.key == sa.bindparam("of_key"), store.execution.c.cached_from.is_(None))


def _gather(rows: sa.CursorResult[Any]) -> list[tuple[Mapping[str, Any], Finished]]:
    """Make one value of the rows of each execution (a row an output), in their order."""
    gathered: dict[int, tuple[Mapping[str, Any], Finished]] = {}
    for row in map(dict, rows.mappings()):
        _, found = gathered.setdefault(row["execution"], (row, Finished(row["execution"], row["key"], {})))
        found.outputs[row["name"]] = Artifact(row["id"], row["format"], row["uri"], row["size"])
    return list(gathered.values())


def _add_execution(connection: Connection, row: Mapping[str, Any]) -> int:
    return int(connection.execute(_ADD_EXECUTION, dict(row)).scalar_one())


def _link(connection: Connection, execution: int, direction: str, named: Mapping[str, Artifact], time: float) -> None:
    links = []
    for name, artifact in named.items():
        _insert_new(connection, store.artifact, msgspec.structs.asdict(artifact) | {"created": time})
        links.append({"execution": execution, "artifact": artifact.id, "direction": direction, "name": name})
    if links:
        connection.execute(_ADD_LINK, links)


def _tell(connection: Connection, run: str, time: float) -> None:
    told = ("id", "pipeline", "status", "event", "decision", "commit", "error")
    query = sa.select(*(store.run.c[name] for name in told)).where(store.run.c.id == run)
    payload = dict(connection.execute(query).mappings().one())
    connection.execute(store.outbox.insert().values(kind="run", time=time, payload=payload))


def _insert_new(connection: Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless its id is there already, also while another process inserts it; tells which."""
    kind = connection.dialect.name
    if (kind, table) not in _INSERTS:
        insert: Any
        if kind == "postgresql":
            from sqlalchemy.dialects.postgresql import insert  # the other dialect would cost every start 0.15 s
        else:
            from sqlalchemy.dialects.sqlite import insert
        _INSERTS[kind, table] = insert(table).on_conflict_do_nothing()
    return bool(connection.execute(_INSERTS[kind, table], dict(row)).rowcount == 1)
