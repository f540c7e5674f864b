"""What the loop does, one line an event, read from the outbox."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import store
from everloop.store import Store
from everloop.types import show_time

__all__ = ["Line", "Story"]


class Line(msgspec.Struct, frozen=True):
    """One event worth telling: its event time, what kind of thing it is about, and a sentence."""

    time: float
    kind: str
    text: str

    @property
    def fields(self) -> dict[str, dict[str, Any]]:
        """What a structured log says beside the sentence."""
        return {"everloop": {"change": self.kind, "time": show_time(self.time)}}


class Story:
    """Reads the outbox from where it stands now; each call of `news` returns what came since the last."""

    def __init__(self, target: Store) -> None:
        self._store = target
        self._last = target.rows(sa.select(sa.func.max(store.outbox.c.id).label("last")))[0]["last"] or 0

    def news(self) -> list[Line]:
        """Return the lines of all events since the last call, oldest first."""
        query = sa.select(store.outbox).where(store.outbox.c.id > self._last).order_by(store.outbox.c.id)
        lines = []
        for row in self._store.rows(query):
            self._last = row["id"]
            line = _line(row["kind"], row["payload"])
            if line:
                lines.append(Line(row["time"], *line))
        return lines


def _line(kind: str, told: dict[str, Any]) -> tuple[str, str] | None:
    if kind == "decision":
        return "decision", f"{told['id']} {told['response']}: {told['reason']}"
    if kind == "model_version" and told["change"] == "registered":
        verdict = told["verdict"] or {}
        word = "passes" if verdict.get("outcome") == "pass" else "does not pass"
        return "gate", f"{told['id']} ({told['window'].get('name', '')}) {word}: {verdict.get('reason', '')}"
    if kind == "rollout":
        what = told["status"].replace("_", " ")
        return "rollout", f"{told['candidate']} {what}{': ' if told['reason'] else ''}{told['reason']}"
    if kind == "alias" and told["name"] == "champion" and told["before"] is None:
        return "rollout", f"{told['version']} serves"
    return None
