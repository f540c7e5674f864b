"""A reader: whole records from a position on, and a durable offset that only its own commit moves."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

import msgspec

from everloop.errors import JournalError
from everloop.journal.records import Record, decode, decode_lines
from everloop.journal.segments import Position, make, path_of, segments, sync

__all__ = ["Reader"]

CHUNK = 1 << 20


class Reader:
    """Reads a journal while another process writes it; a name and a folder of offsets make it durable.

    A segment that was removed is skipped, and so is a record whose payload was erased. Lines of a write that failed
    half-way may be seen in the moment before the writer cuts them: nobody was told that they are safe, and their
    numbers come again.
    """

    def __init__(self, folder: Path, name: str | None = None, offsets: Path | None = None) -> None:
        self._folder = folder
        self._offset = offsets / f"{name}.json" if name and offsets else None
        self._file: FileIO | None = None
        self._opened = -1
        self.position = self._committed()
        self._rest: list[bytes] = []

    def poll(self, limit: int = 1000) -> list[Record]:
        """Return up to `limit` records that follow the position, and move it behind them.

        A line that cannot be read raises `JournalError`, at every poll, once all before it were returned.
        """
        records: list[Record] = []
        while len(records) < limit:
            try:
                record = self._next()
            except JournalError:
                if records:
                    break
                raise
            if record is None:
                break
            if not record.erased:
                records.append(record)
        return records

    def batch(self) -> list[Record]:
        """Return about a megabyte of records, as `poll` does, at a third of its cost a record; none at the end."""
        while self._rest or self._load():
            lines = self._rest[::-1]
            try:
                found = decode_lines(b"".join(lines))
            except JournalError:
                return self.poll(len(lines))
            self._rest = []
            self.position = Position(self.position.segment, self.position.offset + sum(map(len, lines)))
            if kept := [record for record in found if not record.erased]:
                return kept
        return []

    def commit(self) -> None:
        """Make the position durable: a restart goes on behind the records polled so far."""
        if self._offset is None:
            raise JournalError("this reader has no name: open it with a name and a folder of offsets to commit")
        partial = self._offset.with_suffix(".partial")
        try:
            make(self._offset.parent)
            with partial.open("wb") as file:
                file.write(msgspec.json.encode(self.position))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._offset)
            sync(self._offset.parent)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise JournalError(f"the offset {self._offset} cannot be written: {error.strerror}") from error

    def seek(self, position: Position) -> None:
        """Go to a position that this journal gave."""
        self.position, self._rest = position, []

    def _next(self) -> Record | None:
        """Return the record at the position, and go behind it."""
        if not self._rest and not self._load():
            return None
        try:
            record = self._decode()
        except JournalError:  # an erasure may have been writing over the line when it was read
            self._rest = []
            self._load()
            record = self._decode()
        line = self._rest.pop()
        self.position = Position(self.position.segment, self.position.offset + len(line))
        return record

    def _decode(self) -> Record:
        place = self.position
        return decode(self._rest[-1], f"{path_of(self._folder, place.segment)} at byte {place.offset}")

    def _load(self) -> bool:
        """Read the next whole lines of the position's segment, or go on to the next segment."""
        try:
            return self._advance()
        except OSError as error:
            raise JournalError(f"the journal {self._folder} cannot be read: {error.strerror}") from error

    def _advance(self) -> bool:
        while True:
            known = segments(self._folder)
            if self.position.segment > (known[-1] if known else 0):
                raise JournalError(
                    f"the journal {self._folder} has no segment {self.position.segment} any more, where this reader "
                    "went on: restore the folder from a copy, or start the reader anew"
                )
            later = [s for s in known if s > self.position.segment]
            if self.position.segment in known and (lines := self._lines()):
                self._rest = lines[::-1]
                return True
            if not later:
                return False
            self.position = Position(later[0], 0)  # the writer had filled the segment before it opened this one

    def _lines(self) -> list[bytes]:
        """Return the whole lines behind the position, about a megabyte of them."""
        offset = self.position.offset
        try:
            file = self._open(self.position.segment)
        except FileNotFoundError:  # removed just now
            return []
        if offset:
            file.seek(offset - 1)
            if file.read(1) not in (b"\n", b""):
                raise JournalError(
                    f"no record starts at byte {offset} of {path_of(self._folder, self.position.segment)}, where this "
                    "reader went on: restore the segment from a copy, or start the reader anew"
                )
        file.seek(offset)
        data = file.read(CHUNK)
        while b"\n" not in data and len(more := file.read(CHUNK)) > 0:
            data += more
        return [line + b"\n" for line in data.split(b"\n")[:-1]]

    def _open(self, segment: int) -> FileIO:
        if self._opened != segment or self._file is None:
            self.close()
            self._file, self._opened = path_of(self._folder, segment).open("rb", buffering=0), segment
        return self._file

    def _committed(self) -> Position:
        if self._offset is None or not self._offset.is_file():
            return Position(0, 0)
        try:
            return msgspec.json.decode(self._offset.read_bytes(), type=Position)
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            raise JournalError(f"the offset {self._offset} cannot be read: {error}; remove it to start anew") from error

    def close(self) -> None:
        """Close the file at hand."""
        if self._file:
            self._file.close()
            self._file, self._opened = None, -1
