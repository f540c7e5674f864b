"""What stands in a project, and the trail from any of it: prediction -> version -> run -> data version -> commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from everloop import registry, store
from everloop.errors import NotFoundError
from everloop.journal import Record
from everloop.journal.search import find
from everloop.loop.dataset import repository
from everloop.loop.drift import signal_of
from everloop.loop.lease import holder
from everloop.loop.plans import current_plan
from everloop.loop.workspace import Workspace
from everloop.pipelines import Explained, explain
from everloop.tracking.record import DATA_RUN
from everloop.types import dated, show_time

__all__ = ["Shown", "cache_of", "listing", "show", "status"]

_TABLES = {
    "decision": store.decision,
    "rollout": store.rollout,
    "version": store.model_version,
    "data version": store.data_version,
    "run": store.run,
    "event": store.event,
}

_LISTED: dict[str, tuple[str, ...]] = {
    "decision": ("id", "time", "response", "reason", "status", "run"),
    "version": ("id", "created", "stage", "metrics", "data_version", "run", "commit"),
    "run": ("id", "pipeline", "status", "started", "finished", "commit", "error"),
}


class Shown(msgspec.Struct, frozen=True):
    """One thing with its evidence, and by kind the ids of what it came from and what came of it."""

    kind: str
    id: str
    record: dict[str, Any]
    links: dict[str, list[str]]


def status(workspace: Workspace) -> dict[str, Any]:
    """Return what is served, what is being judged, what was decided last, and who runs the project."""
    plan = current_plan(workspace)
    with workspace.store.read() as connection:
        champion = plan.champion.version if plan else None
        version = registry.get(connection, workspace.name, champion) if champion else None
        newest = sa.select(store.decision).order_by(store.decision.c.number.desc()).limit(1)
        decision = connection.execute(newest).mappings().first()
        counts = {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in _TABLES.items()
            if name != "event"
        }
    return {
        "project": workspace.name,
        "champion": champion,
        "metrics": version["metrics"] if version else {},
        "data_version": version["data_version"] if version else None,
        "traffic": {v.version: v.weight for v in plan.variants} if plan else {},
        "plan_generation": plan.generation if plan else 0,
        "last_decision": f"{decision['id']} {decision['response']}: {decision['reason']}" if decision else None,
        "decided": show_time(decision["time"]) if decision else None,
        "controller": holder(workspace.path(workspace.settings.storage.lease)),
        "counts": counts,
    }


def cache_of(workspace: Workspace, decision: str) -> list[Explained]:
    """Return, of each step of a decision's run, whether the cache had it, and which part of its key changed."""
    (row,) = workspace.store.rows(sa.select(store.decision.c.run).where(store.decision.c.id == decision))
    return [one for run in (f"{row['run']}{DATA_RUN}", row["run"]) for one in explain(workspace.store, run)]


def show(workspace: Workspace, id: str) -> Shown:
    """Return the decision, rollout, version, data version, run, event, signal or prediction of an id, with its links.

    Raises `NotFoundError` with the close match.
    """
    with workspace.store.read() as connection:
        for kind, table in _TABLES.items():
            row = connection.execute(sa.select(table).where(table.c.id == id)).mappings().first()
            if row is not None:
                links = _links(connection, kind, dict(row)) | _tagged(workspace, kind, id)
                return Shown(kind, id, _readable(dict(row)), links)
    if told := signal_of(workspace, id):
        return Shown("signal", id, _readable(told), {})
    records = find(workspace.journal, id.lower())
    if not records:
        kinds = "decision, rollout, version, data version, run, event, signal or prediction"
        do = "give a whole id, such as d-3, r-1, v4, data-2 or s-9, or a prediction's as the server answered it"
        raise NotFoundError(kinds, id, _ids(workspace), do)
    return _prediction(workspace, id, records)


def listing(workspace: Workspace, kind: Literal["decision", "version", "run"]) -> list[dict[str, Any]]:
    """Return what there is of a kind, newest first, a few fields each."""
    table, names = _TABLES[kind], _LISTED[kind]
    newest = {"decision": "time", "version": "created", "run": "started"}[kind]
    query = sa.select(*(table.c[name] for name in names)).order_by(table.c[newest].desc(), table.c.id.desc())
    return [_readable(row) for row in workspace.store.rows(query)]


def _tagged(workspace: Workspace, kind: str, id: str) -> dict[str, list[str]]:
    """Return the git tag under which DVC keeps a training set."""
    known = repository(workspace) if kind == "data version" else None
    tag = known.tag(id) if known else None
    return {"tag": [tag]} if tag else {}


def _prediction(workspace: Workspace, id: str, records: list[Record]) -> Shown:
    told = [{"number": r.number, "kind": r.kind, "time": show_time(r.time)} | _decoded(r) for r in records]
    links: dict[str, list[str]] = {}
    if version := next((str(t["version"]) for t in told if t["kind"] == "prediction" and "version" in t), None):
        found = show(workspace, version)
        links = {"version": [version]} | {
            k: v for k, v in found.links.items() if k in ("run", "data version", "decision")
        }
        if commit := found.record.get("commit"):
            links["commit"] = [commit]
    return Shown("prediction", id, {"records": told}, links)


def _decoded(record: Record) -> dict[str, Any]:
    if record.erased:
        return {"erased": True}
    payload: dict[str, Any] = msgspec.json.decode(record.payload)
    return {k: v for k, v in payload.items() if k != "time"}


def _links(connection: store.Connection, kind: str, row: dict[str, Any]) -> dict[str, list[str]]:
    version, decision, rollout = store.model_version.c, store.decision.c, store.rollout.c

    def ids(query: sa.Select[Any]) -> list[str]:
        return [str(i) for i in connection.execute(query).scalars()]

    links: dict[str, list[str]] = {}
    if kind == "event":
        answers = _answers(connection, row)
        links["decision"] = [answer["id"] for answer in answers]
        runs = links["run"] = [answer["run"] for answer in answers if answer["run"]]
        links["version"] = ids(sa.select(version.id).where(version.run.in_(runs)))
        links["rollout"] = ids(sa.select(rollout.id).where(rollout.decision.in_(links["decision"])))
    elif kind == "decision":
        links["event"] = ids(sa.select(store.event.c.id).where(store.event.c.id.in_(row["events"])))
        if row["run"]:
            links["run"] = [row["run"]]
            links["version"] = ids(sa.select(version.id).where(version.run == row["run"]))
        else:
            links["version"] = _moved(row)
        links["rollout"] = ids(sa.select(rollout.id).where(rollout.decision == row["id"]))
    elif kind == "rollout":
        links = {"decision": [row["decision"]], "version": [row["champion"], row["candidate"]]}
    elif kind == "version":
        links = {"run": [row["run"]], "data version": [row["data_version"]]}
        made = sa.select(store.decision).order_by(decision.number)
        links["decision"] = [
            one["id"]
            for one in connection.execute(made).mappings()
            if one["run"] == row["run"] or row["id"] in _moved(dict(one))
        ]
        links["rollout"] = ids(sa.select(rollout.id).where(rollout.candidate == row["id"]))
    elif kind == "data version":
        links["version"] = ids(sa.select(version.id).where(version.data_version == row["id"]))
        links["data version"] = [row["parent"]] if row["parent"] else []
    elif kind == "run":
        links["version"] = ids(sa.select(version.id).where(version.run == row["id"]))
        links["decision"] = ids(sa.select(decision.id).where(decision.run == row["id"]))
    return {name: found for name, found in links.items() if found}


def _moved(decision: Mapping[str, Any]) -> list[str]:
    """Return the versions that a decision without a run was about: which serves since, and which did before."""
    told = {} if decision["run"] else decision["evidence"]
    return list(dict.fromkeys(told[name] for name in ("champion", "before") if isinstance(told.get(name), str)))


def _answers(connection: store.Connection, event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the decisions on an event: those that it is behind, and the one that ended it."""
    table, ended = store.decision.c, (event["result"] or {}).get("decision")
    rows = connection.execute(sa.select(table.id, table.events, table.run).order_by(table.number)).mappings()
    return [dict(row) for row in rows if event["id"] in row["events"] or row["id"] == ended]


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its times as text, without a rollout's running sums: its verdict says what they came to."""
    told: dict[str, Any] = dated({name: value for name, value in row.items() if name != "state"})
    return told


def _ids(workspace: Workspace) -> list[str]:
    return [str(row["id"]) for table in _TABLES.values() for row in workspace.store.rows(sa.select(table.c.id))]
