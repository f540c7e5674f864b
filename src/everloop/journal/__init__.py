"""One append-only journal of predictions and feedback: one writer, many readers, each with its own offset."""

from everloop.journal.readers import Reader
from everloop.journal.records import Record
from everloop.journal.segments import Position, end
from everloop.journal.ticks import TickWriter
from everloop.journal.writer import Mode, Writer

__all__ = ["Mode", "Position", "Reader", "Record", "TickWriter", "Writer", "end"]
