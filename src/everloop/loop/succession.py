"""Who may follow whom when a person decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from everloop import store
from everloop.errors import UsageError
from everloop.store import Connection

__all__ = ["check_promotable", "check_waiting", "previous_champion"]


def check_promotable(version: Mapping[str, Any], champion: str | None) -> None:
    """Raise `UsageError` for a version that no person may promote: the champion, and one whose gate did not pass."""
    if version["id"] == champion:
        raise UsageError(f"{champion} is the champion already")
    verdict = version["verdict"] or {}
    if verdict.get("outcome") != "pass":
        raise UsageError(f"{version['id']} did not pass its gate: {verdict.get('reason', 'it has no verdict')}")


def check_waiting(version: Mapping[str, Any], champion: str | None) -> None:
    """Raise `UsageError` for a version that does not wait for a person's approval."""
    check_promotable(version, champion)
    if version["stage"] != "staged":
        raise UsageError(f"{version['id']} does not wait for approval, it is {version['stage']}: `everloop deploy` it")


def previous_champion(connection: Connection, model: str, champion: str) -> str:
    """Return the version that was champion before; raises `UsageError` where there was none."""
    query = sa.select(store.outbox.c.payload).where(store.outbox.c.kind == "alias").order_by(store.outbox.c.id)
    for told in connection.execute(query).scalars():
        if (told["model"], told["name"], told["version"]) == (model, "champion", champion):
            if told["before"]:
                return str(told["before"])
            break  # a later return to it does not make the one it replaced its predecessor
    raise UsageError(f"{champion} is the first champion: there is none before it")
