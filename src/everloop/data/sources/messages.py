"""Messages of streams as rows: one JSON object each."""

from __future__ import annotations

import msgspec

from everloop.data.sources.source import Row

__all__ = ["UNREADABLE", "row_of"]

UNREADABLE = "unreadable"
"""The only column of a message that is no JSON object: its text, so that the row is refused with a reason, not lost."""


def row_of(message: bytes) -> Row:
    """Return the row that a message holds."""
    try:
        return msgspec.json.decode(message, type=Row)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {UNREADABLE: message.decode(errors="replace")}
