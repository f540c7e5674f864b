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
from everloop.journal.turns import Place, Turns

__all__ = ["Mode", "Writer"]

Mode = Literal["written", "durable", "buffered"]
"""`written`: in the kernel before the answer leaves (survives kill -9). `durable`: on the disk before it.
`buffered`: at most 20 ms later."""


class Writer:
    """The one process that appends to a journal's folder; a second one is refused.

    With `shared`, processes that all say so append in turns: records keep one numbering, and readers see no difference.

    It never goes on in a segment that holds records of an earlier writer, nor in one where a write failed: a
    reader may stand behind bytes that are no longer there, and finds the next segment from any place.
    """

    def __init__(
        self, folder: Path, mode: Mode = "written", segment_bytes: int = 64 << 20, *, shared: bool = False
    ) -> None:
        self.folder, self.mode = folder, mode
        self._limit = segment_bytes
        self._queue: list[bytes] = []
        self._file = self._lock = -1
        self._turns: Turns | None = None
        self._torn = False
        self._segment = self._size = self._number = 0
        try:
            make(folder)
            self._lock = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT, 0o644)
            self._turns = Turns(folder / "writer.turns") if shared else None
            with self._turns or contextlib.nullcontext():
                if self._claim(shared):
                    self._go_on()
                    self._advance()
                    self._publish()
        except OSError as error:
            self._release()
            raise JournalError(f"the journal {folder} cannot be opened: {error.strerror}") from error
        except EverloopError:
            self._release()
            raise

    def append(self, kind: str, id: str, time: float, payload: bytes) -> None:
        """Queue one record; it is acknowledged by the `flush` that follows."""
        if self._lock < 0:
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
        try:
            if self._turns is None:
                self._write(entries)
                return
            with self._turns:
                self._follow(self._turns.read())
                self._write(entries)
                self._publish()
        except OSError as error:
            reason = f"the journal {self.folder} cannot be written: {error.strerror or error}"
            raise JournalError(f"{reason}; free space, then send the request again") from error

    def _write(self, entries: list[bytes]) -> None:
        data = b"".join(line(number, entry) for number, entry in enumerate(entries, self._number + 1))
        if self._torn:
            self._recover(len(data))
        elif self._size >= self._limit:
            self._advance()
        self._put(data)
        self._size += len(data)
        self._number += len(entries)

    def close(self) -> None:
        """Flush, and let another writer in; what cannot be written now is dropped with the error."""
        if self._lock < 0:
            return
        try:
            self.flush()
        finally:
            self._queue = []
            self._release()

    def _claim(self, shared: bool) -> bool:
        """Hold the journal against others; tells whether nobody else has it open. Raises `BusyError`."""
        alone = self._locked(fcntl.LOCK_EX)
        if not (alone or (shared and self._locked(fcntl.LOCK_SH))):
            holder = os.pread(self._lock, 32, 0).decode().strip() or "unknown"
            raise BusyError(f"the journal {self.folder} is written by process {holder}: stop it, or use another folder")
        if alone:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(os.getpid()).encode(), 0)
            if shared:
                self._locked(fcntl.LOCK_SH)  # whoever comes next waits for our turn to end
        return alone

    def _locked(self, kind: int) -> bool:
        try:
            fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _go_on(self) -> None:
        """Go on behind the newest whole record."""
        if known := segments(self.folder):
            self._segment, self._size = known[-1], repair(path_of(self.folder, known[-1]))
        if newest := last_line(self.folder):
            self._number = decode(newest, self.folder).number

    def _follow(self, place: Place) -> None:
        """Go on where the process whose turn was before ours stopped; if it was killed amid its turn, behind that."""
        if place.segment != self._segment or self._file < 0:
            file = os.open(path_of(self.folder, place.segment), os.O_WRONLY | os.O_APPEND)
            if self._file >= 0:
                os.close(self._file)
            self._file, self._torn = file, False
        self._segment, self._size, self._number = place.segment, place.size, place.number
        if os.fstat(self._file).st_size != place.size or path_of(self.folder, place.segment + 1).exists():
            self._go_on()
            self._advance()

    def _publish(self) -> None:
        if self._turns:
            self._turns.write(Place(self._segment, self._size, self._number))

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
        if self._turns:
            self._turns.close()
        self._file = self._lock = -1
