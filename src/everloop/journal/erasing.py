"""Erasure of one person's records and retention: each is signed before it is done, so that the journal verifies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from everloop.bundles import PublicKey, SigningKey
from everloop.errors import CheckError, UsageError
from everloop.journal.chain import Tip, walk
from everloop.journal.records import Record
from everloop.journal.removal import finish, places
from everloop.journal.sealing import seal_alone
from everloop.journal.seals import Dropped, Erasure, Seals, add, alone, read
from everloop.journal.segments import Position, end, path_of, segments, whole

__all__ = ["drop", "erase_records", "first_times"]


def first_times(folder: Path, wanted: Callable[[Record], bool]) -> dict[str, float]:
    """Return, by id, the time of the first record that is wanted."""
    found: dict[str, float] = {}

    def look(record: Record) -> bool:
        if wanted(record):
            found.setdefault(record.id, record.time)
        return False

    places(folder, end(folder), look)
    return found


def erase_records(
    folder: Path, key: SigningKey, keys: Sequence[PublicKey], ids: Collection[str], reason: str, time: float
) -> Erasure | None:
    """Erase payload and salt of every record of these ids; returns what was erased, None where nothing is left.

    All is sealed first. A writer may go on, and positions stay valid. Raises `UsageError` without a reason.
    """
    if not reason.strip():
        raise UsageError("an erasure needs a reason, such as --reason 'request of 2026-11-23'; name no person in it")
    with alone(folder):
        seal_alone(folder, key, keys, time)
        until = read(folder, keys).newest.position
        found = places(folder, until, lambda record: record.id in ids)
        if not found:
            return None
        made = Erasure(time=time, reason=reason, ids=len(ids), places=found)
        add(folder, key, made)
        finish(folder, read(folder, keys))
    return made


def drop(
    folder: Path, key: SigningKey, keys: Sequence[PublicKey], before: float, needed: int, time: float
) -> Dropped | None:
    """Remove the oldest segments whose records are all older than `before`; returns None where there are none.

    Never one that a reader still needs (`needed` and all behind it), nor the newest one that holds records: numbers go
    on from it. What goes is verified first: raises `CheckError` when something is wrong.
    """
    with alone(folder):
        seal_alone(folder, key, keys, time)
        seals = read(folder, keys)
        tip = _last_old(folder, seals, before, needed)
        if tip.number == seals.start.number:
            return None
        made = Dropped(time=time, tip=tip, before=before)
        add(folder, key, made)
        finish(folder, read(folder, keys))
    return made


def _last_old(folder: Path, seals: Seals, before: float, needed: int) -> Tip:
    """Return the tip behind the last segment that may go."""
    tip, ends = seals.start, [(s, whole(path_of(folder, s))) for s in segments(folder)]
    for segment, size in [(segment, size) for segment, size in ends if size][:-1]:
        until = Position(segment, size)
        marks = {number: mark for number, mark in seals.marks.items() if mark.position <= until}
        reached, found, wrong = walk(folder, tip, until, marks, seals.erased)
        if wrong:
            raise CheckError(f"nothing is dropped from the journal {folder}: {wrong}")
        if segment >= needed or found.newest.get(segment, before) >= before:
            break
        tip = reached
    return tip
