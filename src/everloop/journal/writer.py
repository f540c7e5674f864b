"""The writer: queued lines leave in one write; a failed write leaves nothing of itself behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Literal

from everloop.errors import BusyError, JournalError
from everloop.journal.records import decode, encode
from everloop.journal.segments import last_line, path_of, repair, segments

__all__ = ["Mode", "Writer"]

Mode = Literal["written", "durable", "buffered"]
"""`written`: in the kernel before the answer leaves (survives kill -9). `durable`: on the disk before it.
`buffered`: at most 20 ms later."""
Entry = tuple[str, str, float, bytes]


class Writer:
    """The one process that appends to a journal's folder; a second one is refused."""

    def __init__(self, folder: Path, mode: Mode = "written", segment_bytes: int = 64 << 20) -> None:
        self.folder, self.mode = folder, mode
        self._limit = segment_bytes
        self._queue: list[Entry] = []
        self._file = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise JournalError(f"the journal {folder} cannot be opened: {error.strerror}") from error
        self._claim()
        self._torn = False
        known = segments(folder)
        self._segment = known[-1] if known else 1
        try:
            self._size = repair(path_of(folder, self._segment)) if known else 0
            line = last_line(folder)
            self._number = decode(line, folder).number if line else 0
            self._file = self._open(self._segment)
        except (OSError, JournalError) as error:
            os.close(self._lock)
            if isinstance(error, JournalError):
                raise
            raise JournalError(f"the journal {folder} cannot be opened: {error.strerror}") from error

    def append(self, kind: str, id: str, time: float, payload: bytes) -> None:
        """Queue one record; it is acknowledged by the `flush` that follows."""
        self._queue.append((kind, id, time, payload))

    def flush(self) -> None:
        """Write all queued records in one write (and sync them in `durable` mode), or raise and keep none of them."""
        self.write(self.take())

    def take(self) -> list[Entry]:
        """Empty the queue: for a caller that writes in another thread than it appends in."""
        taken, self._queue = self._queue, []
        return taken

    def write(self, entries: list[Entry]) -> None:
        """Write records that were taken; one call at a time, in the order in which they were taken."""
        if not entries:
            return
        data = b"".join(encode(self._number + n, *entry) for n, entry in enumerate(entries, 1))
        try:
            if self._torn:
                self._mend()
            if self._size >= self._limit:
                self._rotate()
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError(28, f"only {written} of {len(data)} bytes were taken")
            if self.mode == "durable":
                os.fdatasync(self._file)
        except OSError as error:
            self._torn = True
            with contextlib.suppress(OSError):
                self._mend()
            reason = f"the journal {self.folder} cannot be written: {error.strerror or error}"
            raise JournalError(f"{reason}; free space, then send the request again") from error
        self._size += len(data)
        self._number += len(entries)

    def close(self) -> None:
        """Flush, and let another writer in."""
        if self._file < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._file)
            os.close(self._lock)
            self._file = -1

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode().strip() or "unknown"
            os.close(self._lock)
            message = f"the journal {self.folder} is written by process {holder}: stop it, or use another folder"
            raise BusyError(message) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _mend(self) -> None:
        """Take back what a failed write left; until that succeeds nothing more is written."""
        os.ftruncate(self._file, self._size)
        self._torn = False

    def _open(self, segment: int) -> int:
        file = os.open(path_of(self.folder, segment), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            os.close(file)
            raise
        return file

    def _rotate(self) -> None:
        os.fdatasync(self._file)
        file = self._open(self._segment + 1)
        os.close(self._file)
        self._file, self._segment, self._size = file, self._segment + 1, 0
