"""Takes away what must not be kept, and leaves a journal that still verifies: one person's payloads, old segments."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from everloop.errors import JournalError
from everloop.journal.chain import lines
from everloop.journal.records import Record, decode, erase
from everloop.journal.seals import Place, Seals
from everloop.journal.segments import Position, path_of, segments, sync

__all__ = ["finish", "places"]


def places(folder: Path, until: Position, wanted: Callable[[Record], bool]) -> list[Place]:
    """Return where the records lie that are wanted and not erased yet, oldest first, up to a position."""
    found = []
    for place, line in lines(folder, Position(), until):
        record = decode(line, f"{path_of(folder, place.segment)} at byte {place.offset}")
        if not record.erased and wanted(record):
            erase(line)  # refused before it is signed that it was done
            found.append(Place(record.number, place.segment, place.offset, len(line)))
    return found


def finish(folder: Path, seals: Seals) -> None:
    """Do all that the seals say was done: a crash may have come between saying and doing; the caller is `alone`."""
    try:
        start = seals.start
        for segment in segments(folder):
            if segment <= start.position.segment and start.number:
                path_of(folder, segment).unlink()
        by_segment: dict[int, list[Place]] = {}
        for number, place in seals.erased.items():
            if number > start.number:
                by_segment.setdefault(place.segment, []).append(place)
        for segment, found in by_segment.items():
            _erase(path_of(folder, segment), found)
        if start.number:
            sync(folder)
    except OSError as error:
        raise JournalError(f"the journal {folder} cannot be changed: {error.strerror}") from error


def _erase(path: Path, found: list[Place]) -> None:
    """Write over the payloads in place, so that positions hold and a writer may go on behind them."""
    descriptor = os.open(path, os.O_RDWR)
    changed = False
    try:
        for place in found:
            written = os.pread(descriptor, place.length, place.offset)
            if not written.startswith(b'{"n":%d,' % place.number):
                raise JournalError(
                    f"record {place.number} is not at byte {place.offset} of {path}, where it was erased: "
                    "`everloop audit verify` says what was changed"
                )
            if (emptied := erase(written)) != written:
                os.pwrite(descriptor, emptied, place.offset)
                changed = True
        if changed:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
