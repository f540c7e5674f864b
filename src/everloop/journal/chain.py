"""The hash chain over a journal's records, walked line by line: what is wrong first, and where."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from everloop.errors import JournalError
from everloop.journal.records import Record, decode, whole_line
from everloop.journal.segments import Position, path_of, segments

__all__ = ["START", "Found", "Progress", "Tip", "Wrong", "lines", "link", "walk"]

START = bytes(32).hex()
"""The chain's value before the first record."""

Progress = Callable[[int, int], None]


class Tip(msgspec.Struct, frozen=True):
    """How far the chain was followed: the position behind a record, its number, the chain's value there."""

    position: Position = Position()
    number: int = 0
    chain: str = START


class Wrong(msgspec.Struct, frozen=True):
    """The first thing that is not as it was written: the record, its segment and byte, and what is wrong with it."""

    number: int
    segment: int
    offset: int
    what: str

    def __str__(self) -> str:
        return f"record {self.number} (segment {self.segment}, byte {self.offset}): {self.what}"


class Found(msgspec.Struct):
    """What a walk saw besides the chain."""

    records: int = 0
    erased: int = 0
    old: int = 0
    newest: dict[int, float] = {}
    """By segment: the newest time of its records."""


class _Wrong(Exception):
    pass


def link(chain: str, record: Record, head: bytes) -> str:
    """Return the chain's value behind a record: SHA-256 over the value before it and what an erasure leaves."""
    told = b'%b{"n":%d,%b%b' % (bytes.fromhex(chain), record.number, head, record.digest.encode())
    return hashlib.sha256(told).hexdigest()


def lines(folder: Path, start: Position, until: Position) -> Iterator[tuple[Position, bytes]]:
    """Yield each line from a position on with the place where it begins; the last one may be cut short."""
    for segment in segments(folder):
        if not start.segment <= segment <= until.segment:
            continue
        offset = start.offset if segment == start.segment else 0
        with path_of(folder, segment).open("rb") as file:
            file.seek(offset)
            for line in file:
                if segment == until.segment and offset + len(line) > until.offset:
                    break
                yield Position(segment, offset), line
                offset += len(line)


def walk(
    folder: Path,
    tip: Tip,
    until: Position,
    marks: Mapping[int, Tip],
    erased: Collection[int],
    tell: Progress | None = None,
) -> tuple[Tip, Found, Wrong | None]:
    """Follow the chain from a tip to a position; returns how far that went, what was seen, and what is wrong first.

    `marks` are sealed tips by their record's number; `erased` are the numbers whose payloads may be gone.
    """
    found = Found()
    since: tuple[int, Position] | None = None  # the first record that the next seal covers
    done, total = 0, _bytes(folder, tip.position)
    if until < tip.position or _shorter(path_of(folder, tip.position.segment), tip.position.offset):
        return tip, found, Wrong(tip.number, *_at(until), "the journal ends here, before what was sealed: it was cut")
    for place, line in lines(folder, tip.position, until):
        try:
            record, head, old = _read(line, tip.number + 1, erased)
        except _Wrong as wrong:
            return tip, found, Wrong(tip.number + 1, *_at(place), str(wrong))
        since = since or (record.number, place)
        end = Position(place.segment, place.offset + len(line))
        tip = Tip(end, record.number, link(tip.chain, record, head))
        if (mark := marks.get(record.number)) and mark != tip:
            return tip, found, _differs(since, mark, tip)
        since = None if mark else since
        _count(found, record, tip, old)
        done += len(line)
        if tell and record.number % 5000 == 0:
            tell(done, total)
    behind = [mark for number, mark in marks.items() if number > tip.number]
    if behind:
        last = max(behind, key=lambda mark: mark.number)
        what = f"missing, and all up to record {last.number}, which is sealed: the journal was cut"
        return tip, found, Wrong(tip.number + 1, *_at(tip.position), what)
    return tip, found, None


def _shorter(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size < size


def _bytes(folder: Path, start: Position) -> int:
    known = [s for s in segments(folder) if s >= start.segment]
    read = start.offset if start.segment in known else 0
    return sum(path_of(folder, segment).stat().st_size for segment in known) - read


def _read(line: bytes, expected: int, erased: Collection[int]) -> tuple[Record, bytes, bool]:
    """Return the record of a line, its head, and whether its digest is of the old form; raises what is wrong."""
    cut_off = "its erasure was cut off: the next `everloop audit seal` or `erase` finishes it"
    try:
        record = decode(line)
    except JournalError:
        raise _Wrong(cut_off if expected in erased else "cannot be read: the line was changed or cut") from None
    if record.number > expected:
        missing = "" if record.number == expected + 1 else f" to {record.number - 1}"
        raise _Wrong(f"missing{missing}: record {record.number} stands here, so it was removed or moved")
    if record.number < expected:
        raise _Wrong(f"out of order: record {record.number} stands here")
    head, gone = record.head, record.erased
    if whole_line(record, head, len(line)) != line:
        raise _Wrong(cut_off if expected in erased else "the line is not in the form in which it was written")
    if gone and expected not in erased:
        raise _Wrong("its payload was removed, and no signed erasure names it")
    if gone:
        return record, head, False
    new = record.digest == record.digested(head)
    if expected in erased:
        raise _Wrong(cut_off)
    if not new and record.digest != record.digested():
        raise _Wrong("its kind, id, time, salt, digest or payload was changed")
    return record, head, not new


def _differs(since: tuple[int, Position], mark: Tip, tip: Tip) -> Wrong:
    """Say that a seal does not fit: what single records show was looked at before, so it is one without its digest."""
    if mark.chain == tip.chain:
        what = f"record {tip.number} ends at byte {tip.position.offset} of segment {tip.position.segment}, sealed as "
        what += f"byte {mark.position.offset} of segment {mark.position.segment}: lines before it were moved"
        return Wrong(tip.number, *_at(tip.position), what)
    what = f"a record from here to {mark.number} is not the one that was sealed, though it looks whole"
    return Wrong(since[0], *_at(since[1]), what)


def _count(found: Found, record: Record, tip: Tip, old: bool) -> None:
    found.records += 1
    found.erased += record.erased
    found.old += old
    segment = tip.position.segment
    found.newest[segment] = max(record.time, found.newest.get(segment, record.time))


def _at(position: Position) -> tuple[int, int]:
    return position.segment, position.offset
