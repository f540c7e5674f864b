"""Which time a request has: the wall's, or under an event clock the one that it carries."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from everloop.errors import RequestError
from everloop.types import parse_time

__all__ = ["Clock", "ClockName", "event_clock", "wall_clock"]

ClockName = Literal["wall", "event"]
Clock = Callable[[object], float]
"""Returns the event time of a request from the `time` that it carries (None: it carries none)."""

_END = 253402300800.0  # the year 10000: later times cannot be shown


def wall_clock(given: object) -> float:
    """Return the present; a time that a request carries is refused, so that nobody can write into the past."""
    if given is not None:
        raise RequestError("this server takes the time from its own clock: leave 'time' out, or start --clock=event")
    return time.time()


def event_clock(given: object) -> float:
    """Return the time that a request carries: RFC 3339, or seconds since 1970."""
    if given is None:
        raise RequestError("this server runs with --clock=event: send 'time' as RFC 3339 or seconds since 1970")
    try:
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            raise ValueError
        moment = parse_time(given)
    except (ValueError, OverflowError):
        raise RequestError(f"'time' is {str(given)[:40]!r}: send RFC 3339 or seconds since 1970") from None
    if not 0.0 <= moment < _END:
        raise RequestError(f"'time' is {moment}: it must lie between the years 1970 and 9999")
    return moment
