"""Follows the plan file while the server runs, so that no request pays for it."""

from __future__ import annotations

import asyncio
import logging

from everloop.errors import EverloopError, SystemError_
from everloop.serving.metrics import Metrics
from everloop.serving.plan import PlanFile, read_plan
from everloop.serving.plane import Plane

__all__ = ["PlanWatch"]

_log = logging.getLogger("everloop.serving")
_POLL = 0.05
_RETRY = 20
"""Polls between two attempts at a plan that could not be taken over: what it needs may come later."""


class PlanWatch:
    """Hands each new plan to the plane; a plan that cannot be taken over leaves the old one serving."""

    def __init__(self, plane: Plane, file: PlanFile, metrics: Metrics) -> None:
        self._plane, self._file, self._metrics = plane, file, metrics
        self._waited = 0
        self.error: str | None = None

    async def run(self) -> None:
        """Look at the file every 50 ms until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_POLL)

    def mark(self, *, unloaded: bool) -> None:
        """Say, to every worker of this plan, whether requests are answered; raises `SystemError_` if it cannot."""
        try:
            if unloaded:
                self._file.unloaded.touch()
            else:
                self._file.unloaded.unlink(missing_ok=True)
        except OSError as error:
            raise SystemError_(f"{self._file.unloaded} cannot be written: {error.strerror}") from error
        self._plane.unloaded = unloaded

    async def look(self) -> None:
        """Take over the plan if the file changed, or again once a second if it failed."""
        self._plane.unloaded = self._file.unloaded.exists()
        if not self._file.changed() and not self._due():
            return
        self._waited = 0
        try:
            plan = read_plan(self._file.path)
            if plan != self._plane.plan:
                await self._plane.take(plan)
                _log.info(
                    "plan %d: %s", plan.generation, ", ".join(f"{v.version} {v.weight:.0%}" for v in plan.variants)
                )
            self.error = None
        except EverloopError as error:
            self._failed(str(error))
        except Exception as error:
            _log.exception("a plan could not be taken over")
            self._failed(f"the plan could not be taken over: {error}")

    def _due(self) -> bool:
        self._waited += 1
        return self.error is not None and self._waited >= _RETRY

    def _failed(self, reason: str) -> None:
        self._metrics.plan_errors.inc()
        if reason != self.error:
            _log.error("%s (what was served before goes on)", reason)
        self.error = reason
