"""Finds the records of one id, the newest segments first, without reading what does not name it."""

from __future__ import annotations

from pathlib import Path

from everloop.errors import JournalError
from everloop.journal.records import Record, decode
from everloop.journal.segments import path_of, segments

__all__ = ["find"]


def find(folder: Path, id: str) -> list[Record]:
    """Return all whole records of an id in the order in which they were written."""
    wanted, found = id.encode(), list[list[Record]]()
    if not wanted:
        return []
    for segment in reversed(segments(folder)):
        path = path_of(folder, segment)
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # removed just now
            continue
        except OSError as error:
            raise JournalError(f"the journal {folder} cannot be read: {error.strerror}") from error
        found.append(_in_segment(data, wanted, path, id))
    return [record for records in reversed(found) for record in records]


def _in_segment(data: bytes, wanted: bytes, path: Path, id: str) -> list[Record]:
    records, place = [], data.find(wanted)
    while place >= 0:
        start, end = data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place)
        if end < 0:  # a line that is being written
            break
        record = decode(data[start : end + 1], f"{path} at byte {start}")
        if record.id == id:
            records.append(record)
        place = data.find(wanted, end + 1)
    return records
