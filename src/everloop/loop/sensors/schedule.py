"""The clock: a cron line, or a length of time; what was missed while nothing ran is made up for once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cronsim import CronSim, CronSimError

from everloop.errors import SettingsError
from everloop.loop.sensors.sensor import Noticed
from everloop.settings import seconds
from everloop.triggers import schedule_event

__all__ = ["ScheduleSensor"]


class ScheduleSensor:
    """Its cursor is the time that was due last; times of a cron line are UTC."""

    def __init__(self, cron: str, every: str) -> None:
        """Raises `SettingsError` for a cron line that is none."""
        self._cron, self._length = cron, seconds(every) if every else 0.0
        self.name, self.every = "schedule", 1.0
        if cron:
            try:
                CronSim(cron, datetime.now(UTC))
            except CronSimError as error:
                raise SettingsError(f"[triggers.schedule] cron = {cron!r}: {str(error).lower()}") from None

    def look(self, cursor: dict[str, Any], now: float) -> Noticed:
        """Return one event where a time has come since the last."""
        if "due" not in cursor:
            return Noticed({"due": now})
        due = self._due(float(cursor["due"]), now)
        if due <= cursor["due"]:
            return Noticed(cursor)
        return Noticed({"due": due}, [schedule_event(due, self._cron or f"every {self._length:g} s")])

    def _due(self, last: float, now: float) -> float:
        """Return the newest time that was due by now."""
        if not self._cron:
            return last + (now - last) // self._length * self._length
        return next(CronSim(self._cron, datetime.fromtimestamp(now // 1 + 1, UTC), reverse=True)).timestamp()
