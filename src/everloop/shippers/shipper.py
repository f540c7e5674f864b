"""One outbox reader with its target: it works when there is news, and waits longer while the target does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from everloop.shippers.outbox import Entry, Outbox, RefusedError, Target, UnreachableError, drain

__all__ = ["Shipper"]

_log = logging.getLogger("everloop.shippers")

FIRST, LONGEST, TURN = 1.0, 30.0, 20


class Shipper:
    """Brings a target up to date, turn by turn; `trouble` says why it does not answer, and is empty while it does."""

    unit = "changes"

    def __init__(self, name: str, outbox: Outbox, kinds: frozenset[str], build: Callable[[], Target]) -> None:
        """`build` makes the target, at the first entry of these kinds and not before."""
        self.name, self.outbox, self.kinds = name, outbox, kinds
        self.trouble = ""
        self._build = build
        self._target: Target | None = None
        self._due, self._failures = 0.0, 0

    def waiting(self, end: int | None = None) -> int:
        """Return how many changes (up to `end`) are not there yet."""
        return self.outbox.waiting(self.kinds, end)

    def ready(self) -> bool:
        """Tell whether there is news, and it is not too early to try again."""
        return time.monotonic() >= self._due and self.waiting() > 0

    def step(self) -> None:
        """Bring the next few changes there."""
        self.outbox.rewind()
        try:
            self._target = self._target or self._build()
            drain(self.outbox, self._target, self._refused, TURN)
        except UnreachableError as error:
            self._due = time.monotonic() + min(LONGEST, FIRST * 2 ** min(self._failures, 10))
            self._failures += 1
            if str(error) != self.trouble:
                _log.warning("%s: %s; %d changes wait", self.name, error, self.waiting())
            self.trouble = str(error)
        else:
            if self.trouble:
                _log.info("%s: it answers again", self.name)
            self._failures, self.trouble = 0, ""

    def _refused(self, entry: Entry, error: RefusedError) -> None:
        _log.warning("%s: %s %s is passed by: %s", self.name, entry.kind, entry.payload.get("id", ""), error)
