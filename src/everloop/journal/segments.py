"""Where records lie: numbered segment files of one folder, and positions in them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

__all__ = ["Position", "end", "last_line", "make", "path_of", "repair", "segments", "sync"]


class Position(msgspec.Struct, frozen=True, order=True):
    """A place between two records: segment number and byte offset."""

    segment: int = 0
    offset: int = 0


def path_of(folder: Path, segment: int) -> Path:
    """Return the file of a segment."""
    return folder / f"{segment:08d}.jsonl"


def segments(folder: Path) -> list[int]:
    """Return the numbers of the segments that exist, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(int(p.stem) for p in folder.glob("*.jsonl") if p.stem.isdecimal())


def end(folder: Path) -> Position:
    """Return the position after the newest whole record."""
    known = segments(folder)
    if not known:
        return Position(0, 0)
    return Position(known[-1], whole(path_of(folder, known[-1])))


def whole(path: Path) -> int:
    """Return how many bytes of a segment are whole lines: all but a tail that a crash cut short."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        at = size
        while at > 0:
            start = max(0, at - 65536)
            file.seek(start)
            found = file.read(at - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            at = start
    return 0


def repair(path: Path) -> int:
    """Cut a torn last line and put the rest on the disk; returns the segment's size then.

    What a killed process wrote may be only in the kernel yet, and numbering goes on from it.
    """
    size = whole(path)
    with path.open("rb+") as file:
        file.truncate(size)
        os.fsync(file.fileno())
    return size


def make(folder: Path) -> None:
    """Make a folder and those above it, on the disk."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Put a folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last_line(folder: Path) -> bytes | None:
    """Return the newest whole line of a folder of repaired segments."""
    for segment in reversed(segments(folder)):
        path = path_of(folder, segment)
        size = whole(path)
        if not size:
            continue
        with path.open("rb") as file:
            length = 65536
            while True:
                start = max(0, size - length)
                file.seek(start)
                block = file.read(size - start)[:-1]
                cut = block.rfind(b"\n")
                if cut >= 0 or start == 0:
                    return block[cut + 1 :]
                length *= 2
    return None
