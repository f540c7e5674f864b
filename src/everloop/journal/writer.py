"""The writer: queued lines leave in one write; a failed write leaves nothing of itself behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Literal

from everloop.errors import BusyError, EverloopError, JournalError
from everloop.journal.records import decode, encode, line
from everloop.journal.segments import last_line, make, path_of, repair, segments, sync

__all__ = ["Mode", "Writer"]

Mode = Literal["written", "durable", "buffered"]
"""`written`: in the kernel before the answer leaves (survives kill -9). `durable`: on the disk before it.
`buffered`: at most 20 ms later."""


class Writer:
    """The one process that appends to a journal's folder; a second one is refused.

    It never goes on in a segment that holds records of an earlier writer, nor in one where a write failed: a
    reader may stand behind bytes that are no longer there, and finds the next segment from any place.
    """

    def __init__(self, folder: Path, mode: Mode = "written", segment_bytes: int = 64 << 20) -> None:
        self.folder, self.mode = folder, mode
        self._limit = segment_bytes
        self._queue: list[bytes] = []
        self._file = self._lock = -1
        self._torn = False
        self._segment = self._size = self._number = 0
        try:
            make(folder)
            self._lock = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT, 0o644)
            self._claim()
            if known := segments(folder):
                self._segment, self._size = known[-1], repair(path_of(folder, known[-1]))
            if newest := last_line(folder):
                self._number = decode(newest, folder).number
            self._advance()
        except OSError as error:
            self._release()
            raise JournalError(f"the journal {folder} cannot be opened: {error.strerror}") from error
        except EverloopError:
            self._release()
            raise

    def append(self, kind: str, id: str, time: float, payload: bytes) -> None:
        """Queue one record; it is acknowledged by the `flush` that follows."""
        if self._file < 0:
            raise JournalError(f"the journal {self.folder} is closed")
        self._queue.append(encode(kind, id, time, payload))

    def flush(self) -> None:
        """Write all queued records in one write (and sync them in `durable` mode), or raise and keep none of them.

        In `buffered` mode they were acknowledged before: when they cannot be written they stay queued, and the
        next `flush` tries again.
        """
        entries = self.take()
        try:
            self.write(entries)
        except JournalError:
            if self.mode == "buffered":
                self._queue = entries + self._queue
            raise

    def take(self) -> list[bytes]:
        """Empty the queue: for a caller that writes in another thread than it appends in."""
        taken, self._queue = self._queue, []
        return taken

    def write(self, entries: list[bytes]) -> None:
        """Write records that were taken; one call at a time, in the order in which they were taken."""
        if not entries:
            return
        data = b"".join(line(number, entry) for number, entry in enumerate(entries, self._number + 1))
        try:
            if self._torn:
                self._recover(len(data))
            elif self._size >= self._limit:
                self._advance()
            self._put(data)
        except OSError as error:
            reason = f"the journal {self.folder} cannot be written: {error.strerror or error}"
            raise JournalError(f"{reason}; free space, then send the request again") from error
        self._size += len(data)
        self._number += len(entries)

    def close(self) -> None:
        """Flush, and let another writer in; what cannot be written now is dropped with the error."""
        if self._file < 0:
            return
        try:
            self.flush()
        finally:
            self._queue = []
            self._release()

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode().strip() or "unknown"
            message = f"the journal {self.folder} is written by process {holder}: stop it, or use another folder"
            raise BusyError(message) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _put(self, data: bytes) -> None:
        """Write behind the records there are; a failure leaves the segment as it was, or `_torn` set."""
        taken = 0
        try:
            while taken < len(data):  # a disk that fills up takes a part, and says why at the next
                taken += os.write(self._file, memoryview(data)[taken:])
            if self.mode == "durable":
                os.fdatasync(self._file)
        except OSError:
            self._torn = self._torn or taken > 0
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise

    def _recover(self, needed: int) -> None:
        """Cut what a failed write left, and go on in a new segment: once there is space, lest each try leave a file."""
        os.ftruncate(self._file, self._size)
        self._put(bytes(needed))  # no newline, so no reader takes it for a record
        os.ftruncate(self._file, self._size)
        self._advance()
        self._torn = False

    def _advance(self) -> None:
        """Go on in a new segment that is on the disk; on an error the old one stays. An empty one is removed."""
        if self._file >= 0:
            os.fdatasync(self._file)
        file = os.open(path_of(self.folder, self._segment + 1), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            sync(self.folder)
        except OSError:
            os.close(file)
            raise
        old, old_size = self._file, self._size
        self._file, self._segment, self._size = file, self._segment + 1, 0
        with contextlib.suppress(OSError):
            if old >= 0:
                os.close(old)
            if not old_size:
                path_of(self.folder, self._segment - 1).unlink(missing_ok=True)

    def _release(self) -> None:
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1
