"""Verifies a journal against its seals, and signs how far it is right; the server has no part in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from everloop.bundles import PublicKey, SigningKey
from everloop.errors import CheckError, JournalError
from everloop.journal.chain import Found, Progress, Tip, Wrong, walk
from everloop.journal.removal import finish
from everloop.journal.seals import Checkpoint, Seals, add, alone, read
from everloop.journal.segments import Position, end, path_of

__all__ = ["Report", "seal", "seal_alone", "verify"]


class Report(msgspec.Struct, frozen=True):
    """What a verification found; `wrong` is the first thing that is not as it was written.

    Records behind `sealed` are covered by their own digests and numbers only: whoever may write the folder could
    make new ones. `old` records were written when the digest covered the payload alone: of those, changed kinds, ids
    and times are found by seals only.
    """

    records: int
    dropped: int
    erased: int
    old: int
    tip: Tip
    sealed: int
    sealed_at: float | None
    wrong: Wrong | None

    @property
    def unsealed(self) -> int:
        return max(0, self.tip.number - self.sealed)


def verify(folder: Path, keys: Sequence[PublicKey], tell: Progress | None = None) -> Report:
    """Read the whole journal and compare it with all seals; raises `CheckError` for a seal that is not trusted.

    It changes nothing, and a writer may go on.
    """
    seals = read(folder, keys)
    tip, found, wrong = _walked(folder, seals, seals.start, tell)
    return Report(
        records=found.records,
        dropped=seals.start.number,
        erased=found.erased,
        old=found.old,
        tip=tip,
        sealed=seals.newest.number,
        sealed_at=max((s.time for s in seals.checkpoints), default=None),
        wrong=wrong,
    )


def seal(folder: Path, key: SigningKey, keys: Sequence[PublicKey], time: float) -> Checkpoint | None:
    """Verify what was written since the newest seal and sign it; returns None where there is nothing new.

    What an erasure or a retention that was cut off left is finished first. Raises `CheckError` for a record that is
    not as it was written.
    """
    with alone(folder):
        return seal_alone(folder, key, keys, time)


def seal_alone(folder: Path, key: SigningKey, keys: Sequence[PublicKey], time: float) -> Checkpoint | None:
    """Seal, as `seal` does, for a caller that is `alone` already."""
    seals = read(folder, keys)
    finish(folder, seals)
    tip, _, wrong = _walked(folder, seals, seals.newest)
    if wrong:
        raise CheckError(f"the journal {folder} is not sealed: {wrong}; `everloop audit verify` looks at all of it")
    if tip.number == seals.newest.number:
        return None
    made = Checkpoint(time=time, tip=tip)
    add(folder, key, made)
    return made


def _walked(folder: Path, seals: Seals, start: Tip, tell: Progress | None = None) -> tuple[Tip, Found, Wrong | None]:
    try:
        return walk(folder, start, _settled(folder), seals.marks, seals.erased, tell)
    except OSError as error:
        raise JournalError(f"the journal {folder} cannot be read: {error.strerror}") from error


def _settled(folder: Path) -> Position:
    """Return the end of the journal, once all before it is on the disk.

    A write that fails for want of space leaves lines for the moment until the writer cuts them: by the time that the
    disk has answered, it has.
    """
    while True:
        before = end(folder)
        if not before.segment:
            return before
        descriptor = os.open(path_of(folder, before.segment), os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if end(folder) >= before:
            return before
