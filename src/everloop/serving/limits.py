"""How much a server takes on, and how long a caller waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from everloop.errors import RequestError

__all__ = ["Limits", "too_late"]


class Limits(msgspec.Struct, frozen=True):
    """At most so many `requests` under way, each answered within `seconds`."""

    requests: int = 1000
    seconds: float = 30.0

    def seconds_of(self, parameters: Mapping[str, Any]) -> float:
        """Return how long a request may take; its `timeout` (microseconds, as Triton has it) shortens the limit."""
        asked = parameters.get("timeout")
        if not asked:
            return self.seconds
        if not isinstance(asked, int | float) or isinstance(asked, bool) or asked < 0:
            raise RequestError(f"timeout {asked!r}: give a number of microseconds")
        return min(self.seconds, asked / 1e6)


def too_late(seconds: float) -> RequestError:
    """Return the error of a request that took too long."""
    return RequestError(f"the answer took longer than {seconds:g} s: send fewer rows, or give it more time", status=504)
