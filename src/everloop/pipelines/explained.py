"""Why each step of a run was computed or taken over: what its key has that the one before had not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import store as tables
from everloop.store import Store
from everloop.types import Json

__all__ = ["Explained", "explain"]


UNCHANGED = "nothing changed: it looks at the world each time, or its result was gone"


class Explained(msgspec.Struct, frozen=True):
    """One step of a run: whether the cache had it, and why (not)."""

    step: str
    hit: bool
    why: str


def explain(store: Store, run: str) -> list[Explained]:
    """Return the executions of a run in their order; those of one that the store does not know are none.

    A miss is held against the newest earlier execution of that step: code by module, parameters, versions of the
    environment, inputs.
    """
    execution = tables.execution.c
    query = sa.select(tables.execution).where(execution.run == run).order_by(execution.id)
    return [_explained(store, row) for row in store.rows(query)]


def _explained(store: Store, row: Mapping[str, Any]) -> Explained:
    execution = tables.execution.c
    if row["cached_from"] is not None:
        (source,) = store.rows(sa.select(execution.run).where(execution.id == row["cached_from"]))
        return Explained(row["step"], True, f"the same as in run {source['run']}")
    if "condition" in row["key_parts"]:
        return Explained(row["step"], False, "its condition was false")
    before = store.rows(
        sa.select(execution.key, execution.key_parts)
        .where(execution.step == row["step"], execution.id < row["id"], execution.status == "finished")
        .order_by(execution.id.desc())
        .limit(1)
    )
    if not before:
        return Explained(row["step"], False, "it was never computed before")
    changes = changed(before[0]["key_parts"], row["key_parts"])
    return Explained(row["step"], False, "; ".join(changes) or UNCHANGED)


def changed(before: Mapping[str, Json], after: Mapping[str, Json]) -> list[str]:
    """Return what differs between the parts of two keys, a phrase each."""
    told = [f"step {before['step']} is now {after['step']}"] if before["step"] != after["step"] else []
    for part, what in _PARTS.items():
        old, new = before.get(part, {}), after.get(part, {})
        told += [_phrase(what, name, old, new) for name in _differing(old, new)]
    return told


_PARTS = {
    "code": "code of",
    "parameters": "parameter",
    "environment": "version of",
    "inputs": "input",
    "outside": "outside data of",
}


def _phrase(what: str, name: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
    if name not in old:
        return f"{what} {name} is new"
    if name not in new:
        return f"{what} {name} is gone"
    if what == "version of":
        return f"{what} {name} is {new[name]}, was {old[name]}"
    if isinstance(old[name], dict) and isinstance(new[name], dict):
        return f"{what} {name} differs in {', '.join(_differing(old[name], new[name]))}"
    return f"{what} {name} changed"


def _differing(old: Mapping[str, Json], new: Mapping[str, Json]) -> list[str]:
    return [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
