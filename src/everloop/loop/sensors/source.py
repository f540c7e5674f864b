"""One of the project's sources: what is new there becomes a version; the pull itself tells the trigger, once."""

from __future__ import annotations

from typing import Any

from everloop.errors import DataError
from everloop.loop.pulling import pull
from everloop.loop.sensors.sensor import Noticed
from everloop.loop.workspace import Workspace

__all__ = ["SourceSensor"]


class SourceSensor:
    """Pulls one source; it needs no cursor here, since the pull keeps its own."""

    def __init__(self, workspace: Workspace, source: str, every: float) -> None:
        self._workspace, self._source = workspace, source
        self.name, self.every = f"pull:{source}", every

    def look(self, cursor: dict[str, Any], now: float) -> Noticed:
        """Pull once; raises `DataError` for a batch that was refused, which is told and not tried again."""
        found = pull(self._workspace, self._source, now)
        if found.refused:
            raise DataError(found.refused, kept=found.quarantined)
        return Noticed(cursor)
