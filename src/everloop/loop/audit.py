"""A project's journal as evidence: verified, sealed, erased from, cut to what is kept; what is behind a prediction."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import store
from everloop.bundles import trusted
from everloop.errors import NotFoundError, UsageError
from everloop.journal import Record, erasing, sealing
from everloop.journal.chain import Progress
from everloop.journal.machine import server_before
from everloop.journal.seals import Checkpoint, read
from everloop.journal.search import find
from everloop.loop.controller import ControllerState
from everloop.loop.export import export
from everloop.loop.exported import erase_from_exports, ids_in_exports, plain
from everloop.loop.monitoring import MONITOR, MonitorState
from everloop.loop.records import load_state
from everloop.loop.trail import show
from everloop.loop.workspace import Workspace
from everloop.types import Prediction, show_time

__all__ = ["Audited", "Erased", "audit", "erase", "retain", "seal", "verify"]


class Audited(msgspec.Struct, frozen=True):
    """One prediction: all records of its id, when the first was sealed, what computed it, and what it came from."""

    id: str
    records: list[dict[str, Any]]
    sealed: str | None
    server: dict[str, Any] | None
    links: dict[str, list[str]]
    behind: dict[str, dict[str, Any]]
    """By id: version, run and data version."""


class Erased(msgspec.Struct, frozen=True):
    """What an erasure took: predictions, records of the journal, rows of exported tables; and what it left."""

    ids: list[str]
    records: int
    exported: int
    training_sets: list[str]
    """Made after the first of these predictions: their rows may hold what was erased."""


def verify(workspace: Workspace, tell: Progress | None = None) -> sealing.Report:
    """Return what a verification of the whole journal finds."""
    return sealing.verify(workspace.journal, trusted(workspace.keys), tell)


def seal(workspace: Workspace, now: float) -> Checkpoint | None:
    """Sign what was journalled since the newest seal; returns None where there is nothing new."""
    return sealing.seal(workspace.journal, workspace.key, trusted(workspace.keys), now)


def audit(workspace: Workspace, id: str) -> Audited:
    """Return a prediction with its labels, explanations, version, run, data version and commit."""
    shown = show(workspace, id)
    if shown.kind != "prediction":
        raise NotFoundError("prediction", id, do="give its whole id, as the server answered it")
    number = shown.record["records"][0]["number"]
    seals = read(workspace.journal, trusted(workspace.keys))
    server = server_before(workspace.journal, number)
    sources = [show(workspace, one) for kind in ("version", "run", "data version") for one in shown.links.get(kind, [])]
    return Audited(
        id=shown.id,
        records=shown.record["records"],
        sealed=next((show_time(s.time) for s in seals.checkpoints if s.tip.number >= number), None),
        server=msgspec.to_builtins(server) if server else None,
        links=shown.links,
        behind={one.id: one.record for one in sources},
    )


def erase(
    workspace: Workspace, ids: Collection[str], column: str | None, value: str | None, reason: str, now: float
) -> Erased:
    """Erase predictions, by id or by an input column's value, with their labels and explanations.

    A prediction of several rows is erased as a whole when one of them holds the value. Exported tables lose the rows
    too. Raises `UsageError` when it is not said which, and `NotFoundError` when none of the ids is known or no
    prediction has the column.
    """
    if bool(ids) == bool(column) or (column is None) != (value is None):
        raise UsageError("say which predictions: their ids, or --column NAME with --value VALUE")
    if column is not None and value is not None:
        columns = set[str]()
        held = erasing.first_times(workspace.journal, lambda record: _holds(record, column, value, columns))
        chosen, times = {*held, *ids_in_exports(workspace, column, value)}, list(held.values())
        if columns and not chosen and column not in columns:
            raise NotFoundError("input of any prediction", column, columns)
    else:
        chosen = {id.lower() for id in ids}
        times = [record.time for id in chosen for record in find(workspace.journal, id)]
    made = erasing.erase_records(workspace.journal, workspace.key, trusted(workspace.keys), chosen, reason, now)
    exported = erase_from_exports(workspace, chosen)
    if ids and not times and not exported:
        raise NotFoundError("prediction", min(chosen))
    sets = [str(row["id"]) for row in _training_sets(workspace, min(times))] if times else []
    return Erased(sorted(chosen), len(made.places) if made else 0, exported, sets)


def retain(workspace: Workspace, keep: float, now: float, out: Path | None = None) -> dict[str, Any]:
    """Remove the segments whose records are all older than `keep` seconds, exported to `out` before, where it is given.

    What controller and monitor have not read stays. Returns how many records went and the oldest that stays.
    """
    if out is not None:
        export(workspace, out)
    with workspace.store.read() as connection:
        state: ControllerState = load_state(connection, "controller", ControllerState)
        watched = load_state(connection, MONITOR, MonitorState)
    needed = min(state.watch.position.segment, watched.position.segment if watched.version else sys.maxsize)
    keys = trusted(workspace.keys)
    before = read(workspace.journal, keys).start.number
    made = erasing.drop(workspace.journal, workspace.key, keys, now - keep, needed, now)
    return {"records": made.tip.number - before if made else 0, "before": show_time(now - keep)}


def _holds(record: Record, column: str, value: str, columns: set[str]) -> bool:
    """Return whether a prediction's column holds a value; note its columns."""
    if record.kind != "prediction":
        return False
    inputs = record.read(Prediction).inputs
    columns.update(inputs)
    return any(plain(found) == value for found in inputs.get(column, []))


def _training_sets(workspace: Workspace, since: float) -> list[Any]:
    made = store.data_version.c
    return workspace.store.rows(sa.select(made.id).where(made.created >= since))
