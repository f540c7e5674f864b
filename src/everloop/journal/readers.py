"""A reader: whole records from a position on, and a durable offset that only its own commit moves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import msgspec

from everloop.errors import JournalError
from everloop.journal.records import Record, decode
from everloop.journal.segments import Position, path_of, segments

__all__ = ["Reader"]

CHUNK = 1 << 20


class Reader:
    """Reads a journal while another process writes it; a name and a folder of offsets make it durable."""

    def __init__(self, folder: Path, name: str | None = None, offsets: Path | None = None) -> None:
        self._folder = folder
        self._offset = offsets / f"{name}.json" if name and offsets else None
        self._file: IO[bytes] | None = None
        self._opened = -1
        self.position = self._committed()
        self._rest: list[bytes] = []

    def poll(self, limit: int = 1000) -> list[Record]:
        """Return up to `limit` records that follow the position, and move it behind them."""
        records: list[Record] = []
        while len(records) < limit:
            if not self._rest and not self._load():
                break
            line = self._rest.pop()
            records.append(decode(line, f"{path_of(self._folder, self.position.segment)}"))
            self.position = Position(self.position.segment, self.position.offset + len(line))
        return records

    def commit(self) -> None:
        """Make the position durable: a restart goes on behind the records polled so far."""
        if self._offset is None:
            raise JournalError("this reader has no name: open it with a name and a folder of offsets to commit")
        self._offset.parent.mkdir(parents=True, exist_ok=True)
        partial = self._offset.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(self.position))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._offset)

    def seek(self, position: Position) -> None:
        """Go to a position that this journal gave."""
        self.position, self._rest = position, []

    def _load(self) -> bool:
        """Read the next whole lines of the position's segment, or go on to the next segment."""
        while True:
            known = segments(self._folder)
            if not known or known[-1] < self.position.segment:
                return False
            if self.position.segment < known[0]:
                self.position = Position(known[0], 0)
            lines = self._lines()
            if lines:
                self._rest = lines[::-1]
                return True
            later = [s for s in known if s > self.position.segment]
            if not later or self._lines():  # the writer fills a segment before it opens the next: look again
                self._rest = self._lines()[::-1]
                return bool(self._rest)
            self.position = Position(later[0], 0)

    def _lines(self) -> list[bytes]:
        file = self._open(self.position.segment)
        file.seek(self.position.offset)
        data = file.read(CHUNK)
        while b"\n" not in data and len(more := file.read(CHUNK)) > 0:
            data += more
        return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)

    def _open(self, segment: int) -> IO[bytes]:
        if self._opened != segment or self._file is None:
            if self._file:
                self._file.close()
            self._file, self._opened = path_of(self._folder, segment).open("rb"), segment
        return self._file

    def _committed(self) -> Position:
        if self._offset is None or not self._offset.is_file():
            return Position(0, 0)
        return msgspec.json.decode(self._offset.read_bytes(), type=Position)

    def close(self) -> None:
        """Close the file at hand."""
        if self._file:
            self._file.close()
            self._file, self._opened = None, -1
