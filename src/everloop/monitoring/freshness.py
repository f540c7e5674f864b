"""Freshness: how old the newest prediction and the newest label are."""

from __future__ import annotations

from typing import Any

from everloop.monitoring.window import Window
from everloop.types import Signal

__all__ = ["Freshness"]


class Freshness:
    """`freshness`: fires when the newest prediction is older than `stale` seconds at a look, a batch without rows."""

    name = "freshness"

    def __init__(self, stale: float) -> None:
        self._stale = stale
        self.newest = self.labelled = 0.0

    def update(self, batch: Window) -> Signal | None:
        """Remember how far predictions and labels have come; a batch that closes nothing and has no rows is a look."""
        self.newest, self.labelled = max(self.newest, batch.newest), max(self.labelled, batch.labelled)
        if batch.rows or batch.last or not self.newest:
            return None
        now = batch.end
        age = max(0.0, now - self.newest)
        told = {"window": True, "newest_prediction": self.newest, "newest_label": self.labelled or None}
        told["label_age"] = now - self.labelled if self.labelled else None
        return Signal(self.name, now, age, self._stale, age >= self._stale, self.newest, now, told)

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        return {"newest": self.newest, "labelled": self.labelled}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.newest, self.labelled = state["newest"], state["labelled"]

    def merge(self, other: Freshness) -> None:
        """Take the newer of both."""
        self.newest, self.labelled = max(self.newest, other.newest), max(self.labelled, other.labelled)
