"""What every source does: it gives the rows that came since it was read last, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from everloop.data.sources.secrets import Secrets

__all__ = ["Chunk", "Cursor", "Given", "Row", "Source"]

Row = dict[str, Any]
"""Values as JSON has them, besides times, decimals and the like, which are written as text or numbers."""
Cursor = dict[str, Any]
"""Where a source goes on, as JSON."""


class Given(NamedTuple):
    """What a source is made with, besides its own settings."""

    name: str
    """Of project and source."""
    folder: Path
    """Where relative paths lie."""
    secrets: Secrets
    time: str
    """The column of event time; "" where there is none."""
    build: Callable[[Sequence[str]], Path]
    """Returns the Python of an environment of its own with these packages."""


class Chunk(NamedTuple):
    """Some rows, and where to go on behind them; without a cursor only at a later chunk's."""

    rows: Sequence[Row]
    cursor: Cursor | None


class Source(Protocol):
    """One place that rows come from."""

    def read(self, cursor: Cursor, limit: int) -> Iterator[Chunk]:
        """Yield what came behind a cursor, `{}` at first, up to about `limit` rows; the last chunk has a cursor.

        Who asks for the next chunk says by it that the ones before are safe on disk.
        """
