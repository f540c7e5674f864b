"""Whose turn it is to append, among processes that share a journal, and where the one before stopped."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import NamedTuple

__all__ = ["Place", "Turns"]

_FORM = struct.Struct("<QQQ")


class Place(NamedTuple):
    """The end of the journal: the segment, its size in bytes, the number of the newest record."""

    segment: int
    size: int
    number: int


class Turns:
    """A turn lasts from `with` to its end, and ends with the process that has it.

    Each process opens its own: a lock that was inherited would be shared.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def __enter__(self) -> Turns:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def read(self) -> Place:
        """Return the place that the turn before ours left."""
        return Place(*_FORM.unpack(os.pread(self._file, _FORM.size, 0)))

    def write(self, place: Place) -> None:
        """Leave a place for the next turn."""
        os.pwrite(self._file, _FORM.pack(*place), 0)

    def close(self) -> None:
        """Have no more turns."""
        os.close(self._file)
