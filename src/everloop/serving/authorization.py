"""Who may change state: whoever sends the server's token, or anybody where there is none."""

from __future__ import annotations

import hmac

from everloop.errors import RequestError

__all__ = ["Authorization"]


class Authorization:
    """Compares what a caller sends with the server's token, in constant time."""

    def __init__(self, token: str | None) -> None:
        self._secret = f"Bearer {token}".encode() if token else None

    def check(self, given: str | None) -> None:
        """Raise `RequestError` of status 401 unless `given` (the `authorization` header) carries the token."""
        if self._secret is None:
            return
        if given is None or not hmac.compare_digest(given.encode("latin-1", "replace"), self._secret):
            raise RequestError("this changes state: send the server's token as 'Authorization: Bearer TOKEN'", 401)
