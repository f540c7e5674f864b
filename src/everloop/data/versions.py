"""Data versions: every training set is one before training starts, named by its content."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from everloop.errors import NotFoundError
from everloop.store import Connection, data_version

__all__ = ["get", "list_versions", "record"]


def record(
    connection: Connection, *, artifact: str, rows: int, start: float, end: float, origin: str, time: float
) -> str:
    """Return the id (`data-1`, `data-2`, ...) of a training set; equal content keeps the id it has."""
    known = connection.execute(sa.select(data_version.c.id).where(data_version.c.artifact == artifact)).scalar()
    if known:
        return str(known)
    count = connection.execute(sa.select(sa.func.count()).select_from(data_version)).scalar_one()
    parent = f"data-{count}" if count else None
    values = {"rows": rows, "start": start, "end": end, "origin": origin, "created": time, "parent": parent}
    connection.execute(data_version.insert().values(id=f"data-{count + 1}", artifact=artifact, **values))
    return f"data-{count + 1}"


def get(connection: Connection, id: str) -> dict[str, Any]:
    """Return one data version's row."""
    row = connection.execute(sa.select(data_version).where(data_version.c.id == id)).mappings().first()
    if row is None:
        raise NotFoundError("data version", id, [v["id"] for v in list_versions(connection)])
    return dict(row)


def list_versions(connection: Connection) -> list[dict[str, Any]]:
    """Return all data versions, oldest first."""
    rows = [dict(r) for r in connection.execute(sa.select(data_version)).mappings()]
    return sorted(rows, key=lambda row: int(row["id"].removeprefix("data-")))
