"""Rows that were pulled and are no version yet: on disk, with the place in the source that the next ones come from.

Rows are appended first, then a small file says how many of them count and where to go on. It is replaced at once, so a
process may be killed anywhere: what lies behind the rows that count is cut off, and pulled again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Staged"]

_encoder = msgspec.json.Encoder(enc_hook=str, decimal_format="number")


class Progress(msgspec.Struct):
    """What counts: the batch's number, its rows and bytes, where the source goes on, whether it is being added."""

    number: int = 1
    rows: int = 0
    size: int = 0
    cursor: dict[str, Any] = {}
    sealed: bool = False


class Staged:
    """The batch of one source that is being pulled, and what is known of those before it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._file, self._told = folder, folder / "rows.jsonl", folder / "progress.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.new = not self._told.is_file()
        self._known = Progress() if self.new else msgspec.json.decode(self._told.read_bytes(), type=Progress)
        with self._file.open("ab") as file:
            file.truncate(self._known.size)
        self._appended = 0

    @property
    def number(self) -> int:
        """Which batch of the source this is, from 1."""
        return self._known.number

    @property
    def rows(self) -> int:
        """How many rows are safe."""
        return self._known.rows

    @property
    def cursor(self) -> dict[str, Any]:
        """Where the source goes on behind them."""
        return self._known.cursor

    @property
    def sealed(self) -> bool:
        """Whether the batch is complete, and was perhaps added before the process ended."""
        return self._known.sealed

    def add(self, rows: Sequence[dict[str, Any]], cursor: dict[str, Any] | None) -> None:
        """Append rows; with a cursor, all that were appended are safe when this returns."""
        with self._file.open("ab") as file:
            file.write(_encoder.encode_lines(rows))
            file.flush()
            if cursor is not None:
                os.fsync(file.fileno())
            size = file.tell()
        self._appended += len(rows)
        if cursor is not None and (self._appended or cursor != self._known.cursor):
            self._keep(msgspec.structs.replace(self._known, rows=self.rows + self._appended, size=size, cursor=cursor))
            self._appended = 0

    def seal(self) -> None:
        """Say that the batch is complete: from here on it is added, as often as it takes, and nothing is pulled."""
        self._keep(msgspec.structs.replace(self._known, sealed=True))

    def all(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that are safe."""
        with self._file.open("rb") as file:
            for line in file:
                yield msgspec.json.decode(line)

    def done(self) -> None:
        """Begin the next batch: this one is a version, or in the quarantine."""
        self._keep(Progress(self.number + 1, cursor=self.cursor))
        with self._file.open("ab") as file:
            file.truncate(0)

    def _keep(self, progress: Progress) -> None:
        partial = self._told.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(progress))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._told)
        self._known = progress
