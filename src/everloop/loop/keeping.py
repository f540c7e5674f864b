"""What the controller does for the journal besides reading it: it seals it, and drops what need not be kept."""

from __future__ import annotations

import logging

from everloop.errors import EverloopError
from everloop.loop.audit import retain, seal
from everloop.loop.workspace import Workspace
from everloop.settings import seconds

__all__ = ["Keeper"]

_log = logging.getLogger("everloop.loop")
DAY = 86_400.0


class Keeper:
    """Seals every `[storage] seal`, and once a day applies `[storage] retention`; times are wall time.

    A journal that was tampered with is told each time, and stops nothing.
    """

    def __init__(self, workspace: Workspace, *, retains: bool) -> None:
        """`retains` is False where records bear the times of a replay."""
        self._workspace, storage = workspace, workspace.settings.storage
        self._every = seconds(storage.seal)
        self._keep = seconds(storage.retention) if storage.retention and retains else None
        self._sealed = self._retained = float("-inf")

    def look(self, now: float) -> None:
        """Do what is due by now."""
        if now >= self._sealed + self._every:
            self.seal(now)
        if self._keep is not None and now >= self._retained + DAY:
            self._retained = now
            export = self._workspace.settings.storage.export
            try:
                gone = retain(self._workspace, self._keep, now, self._workspace.path(export) if export else None)
            except EverloopError as error:
                _log.error("journal   %s", error)
            else:
                _log.info("journal   %s records dropped, of those before %s", gone["records"], gone["before"])

    def seal(self, now: float) -> None:
        """Seal what is new, whatever was due."""
        self._sealed = now
        try:
            seal(self._workspace, now)
        except EverloopError as error:
            _log.error("journal   %s", error)
