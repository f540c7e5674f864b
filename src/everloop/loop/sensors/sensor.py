"""What every sensor does: it looks, and says what came since it looked last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from everloop.types import Event

__all__ = ["Cursor", "Noticed", "Sensor"]

Cursor = dict[str, Any]


class Noticed(NamedTuple):
    """What a look found: where the next one goes on, what came since the last, and what a person should be told."""

    cursor: Cursor
    events: Sequence[Event] = ()
    told: str = ""


class Sensor(Protocol):
    """Looks at one place; the first look, with an empty cursor, takes what is there as known."""

    name: str
    every: float

    def look(self, cursor: Cursor, now: float) -> Noticed:
        """Return what came since the look that left this cursor."""
