"""Tables in files, buckets or behind one URL, as a source: each is read once, when it is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from everloop.data.sources import files, objects
from everloop.data.sources.messages import UNREADABLE
from everloop.data.sources.source import Chunk, Cursor, Given, Row
from everloop.errors import DataError
from everloop.settings import Source

__all__ = ["TablesSource", "make"]

ROWS, FILES = 10_000, 250
"""After so many of either it is said how far the files were read: that lists all of them, and costs as much."""


def make(settings: Source, given: Given) -> TablesSource:
    """Return the source; a relative path lies in `folder`."""
    url = given.secrets.fill(settings.url)
    return TablesSource(url if "://" in url else str(given.folder / url))


class TablesSource:
    """Its cursor is the files that were read; one that changes later, or comes back, is not read again."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def read(self, cursor: Cursor, limit: int) -> Iterator[Chunk]:
        """Yield the rows of the files that are new, a file at a time, until the limit is passed."""
        known, rows_since, files_since = set(cursor.get("files", ())), 0, 0
        single = self._pattern.startswith(("http://", "https://"))
        for url in [self._pattern] if single else objects.matching(self._pattern):
            if url in known or limit <= 0:
                continue
            rows = _rows(url)
            limit -= len(rows)
            known.add(url)
            rows_since, files_since = rows_since + len(rows), files_since + 1
            told = rows_since >= ROWS or files_since >= FILES
            yield Chunk(rows, {"files": sorted(known)} if told else None)
            if told:
                rows_since, files_since = 0, 0
        yield Chunk([], {"files": sorted(known)})


def _rows(url: str) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="everloop-source-") as place:
        copy = Path(place, url.partition("?")[0].rpartition("/")[2])
        objects.fetch(url, copy)
        try:
            frame = files.read(str(copy), copy.parent)
        except DataError as error:  # a row that is refused with this reason; the next pull goes on behind it
            return [{UNREADABLE: str(error).replace(str(copy), url)}]
    plain: list[Row] = frame.astype(object).where(frame.notna(), None).to_dict("records")  # type: ignore[assignment]
    return [{str(name): _plain(value) for name, value in row.items()} for row in plain]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    value = value.item() if hasattr(value, "item") else value
    return msgspec.to_builtins(value, enc_hook=str) if not isinstance(value, str | int | float | bool) else value
