"""A journal reader that brings records to a search engine; its offset moves only behind what is there or kept aside."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from everloop.errors import JournalError, SystemError_
from everloop.journal import Position, Reader, Record, end
from everloop.journal.segments import path_of, segments
from everloop.shippers.documents import Document, documents_of
from everloop.shippers.elastic import Bulk

__all__ = ["JournalShipper"]

_log = logging.getLogger("everloop.shippers")

FIRST, LONGEST, TURN = 1.0, 30.0, 1000


class JournalShipper:
    """Brings a journal to its target, turn by turn; `trouble` says why it comes no further."""

    name, unit = "the journal to Elasticsearch", "bytes"

    def __init__(self, journal: Path, offsets: Path, index: str, project: str, build: Callable[[], Bulk]) -> None:
        """`offsets` is the folder of the durable offset; `build` makes the target at the first record."""
        self._journal, self._offsets, self._index, self._project = journal, offsets, index, project
        self.trouble, self.refused = "", 0
        self._build = build
        self._bulk: Bulk | None = None
        self._due, self._failures = 0.0, 0
        self._goal: Position | None = None

    def waiting(self, goal: int | None = None) -> int:
        """Return how many bytes of the journal are not there yet; with a goal, of what stood in it when first asked."""
        last = end(self._journal)
        if goal is not None:
            last = self._goal = self._goal or last
        reader = self._reader()
        reader.close()
        position, left = reader.position, 0
        for segment in segments(self._journal):
            if position.segment <= segment <= last.segment:
                stop = last.offset if segment == last.segment else path_of(self._journal, segment).stat().st_size
                left += max(0, stop - (position.offset if segment == position.segment else 0))
        return left

    def ready(self) -> bool:
        """Tell whether there is news, and it is not too early to try again."""
        return time.monotonic() >= self._due and self.waiting() > 0

    def step(self) -> int:
        """Bring the next records there; return how many there were."""
        reader = self._reader()
        try:
            self._bulk = self._bulk or self._build()
            records = reader.poll(TURN)
            self._tell(len(self._bulk.send(d for record in records for d in self._documents(record))))
            reader.commit()
        except SystemError_ as error:
            self._late(str(error))
            return 0
        finally:
            reader.close()
        if self.trouble:
            _log.info("%s: it answers again", self.name)
        self._failures, self.trouble = 0, ""
        return len(records)

    def _documents(self, record: Record) -> list[Document]:
        try:
            return list(documents_of(record, self._index, self._project))
        except (JournalError, msgspec.MsgspecError, OverflowError, ValueError, TypeError) as error:
            if self._bulk:
                id = f"{self._project}/{record.kind}/{record.number}"
                self._bulk.keep(Document(self._index, id, bytes(record.payload)), str(error))
            self._tell(1)
            return []

    def _tell(self, refused: int) -> None:
        self.refused += refused
        if refused:
            _log.warning("%s: %d documents are refused, and kept as dead letters", self.name, refused)

    def _late(self, trouble: str) -> None:
        self._due = time.monotonic() + min(LONGEST, FIRST * 2 ** min(self._failures, 10))
        self._failures += 1
        if trouble != self.trouble:
            _log.warning("%s: %s; the journal waits", self.name, trouble)
        self.trouble = trouble

    def _reader(self) -> Reader:
        return Reader(self._journal, "elastic", self._offsets)
